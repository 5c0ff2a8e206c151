"""Run by the interpreter of the counterparts: one sample, uploaded by Datadog's own library for Python."""

from ddtrace.internal.datadog.profiling import ddup

ddup.config(env="test", service="demo", version="1.2.3", tags={}, timeline_enabled=True)
ddup.start()
sample = ddup.SampleHandle()
sample.push_cputime(50_000_000, 1)
sample.push_walltime(60_000_000, 1)
sample.push_threadinfo(4243, 4244, "demo")
sample.push_frame("burn", "/app/app.py", 0, 12)
sample.push_frame("main", "/app/app.py", 0, 99)
sample.flush_sample()
ddup.upload()
