import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LogLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOG_LEVEL_UNSPECIFIED: _ClassVar[LogLevel]
    LOG_LEVEL_DEBUG: _ClassVar[LogLevel]
    LOG_LEVEL_INFO: _ClassVar[LogLevel]
    LOG_LEVEL_WARN: _ClassVar[LogLevel]
    LOG_LEVEL_ERROR: _ClassVar[LogLevel]
LOG_LEVEL_UNSPECIFIED: LogLevel
LOG_LEVEL_DEBUG: LogLevel
LOG_LEVEL_INFO: LogLevel
LOG_LEVEL_WARN: LogLevel
LOG_LEVEL_ERROR: LogLevel

class Incident(_message.Message):
    __slots__ = ("service", "reason", "who", "start_time", "end_time", "pipelines")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PIPELINES_FIELD_NUMBER: _ClassVar[int]
    service: str
    reason: str
    who: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    pipelines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, service: _Optional[str] = ..., reason: _Optional[str] = ..., who: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pipelines: _Optional[_Iterable[str]] = ...) -> None: ...

class StartIncidentRequest(_message.Message):
    __slots__ = ("service", "reason", "who", "duration")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    service: str
    reason: str
    who: str
    duration: _duration_pb2.Duration
    def __init__(self, service: _Optional[str] = ..., reason: _Optional[str] = ..., who: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StartIncidentResponse(_message.Message):
    __slots__ = ("incident",)
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    incident: Incident
    def __init__(self, incident: _Optional[_Union[Incident, _Mapping]] = ...) -> None: ...

class StopIncidentRequest(_message.Message):
    __slots__ = ("service", "who")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    service: str
    who: str
    def __init__(self, service: _Optional[str] = ..., who: _Optional[str] = ...) -> None: ...

class StopIncidentResponse(_message.Message):
    __slots__ = ("incident",)
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    incident: Incident
    def __init__(self, incident: _Optional[_Union[Incident, _Mapping]] = ...) -> None: ...

class ListIncidentsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListIncidentsResponse(_message.Message):
    __slots__ = ("incidents",)
    INCIDENTS_FIELD_NUMBER: _ClassVar[int]
    incidents: _containers.RepeatedCompositeFieldContainer[Incident]
    def __init__(self, incidents: _Optional[_Iterable[_Union[Incident, _Mapping]]] = ...) -> None: ...

class GetThresholdsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetThresholdsResponse(_message.Message):
    __slots__ = ("processors",)
    PROCESSORS_FIELD_NUMBER: _ClassVar[int]
    processors: _containers.RepeatedCompositeFieldContainer[SamplingProcessor]
    def __init__(self, processors: _Optional[_Iterable[_Union[SamplingProcessor, _Mapping]]] = ...) -> None: ...

class SamplingProcessor(_message.Message):
    __slots__ = ("pipeline", "processor", "rules", "services")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PROCESSOR_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    processor: str
    rules: _containers.RepeatedScalarFieldContainer[str]
    services: _containers.RepeatedCompositeFieldContainer[ServiceThreshold]
    def __init__(self, pipeline: _Optional[str] = ..., processor: _Optional[str] = ..., rules: _Optional[_Iterable[str]] = ..., services: _Optional[_Iterable[_Union[ServiceThreshold, _Mapping]]] = ...) -> None: ...

class ServiceThreshold(_message.Message):
    __slots__ = ("service", "sampling_probability")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    service: str
    sampling_probability: float
    def __init__(self, service: _Optional[str] = ..., sampling_probability: _Optional[float] = ...) -> None: ...

class GetPipelinesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPipelinesResponse(_message.Message):
    __slots__ = ("pipelines", "components", "configuration")
    PIPELINES_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    pipelines: _containers.RepeatedCompositeFieldContainer[Pipeline]
    components: _containers.RepeatedCompositeFieldContainer[Component]
    configuration: Configuration
    def __init__(self, pipelines: _Optional[_Iterable[_Union[Pipeline, _Mapping]]] = ..., components: _Optional[_Iterable[_Union[Component, _Mapping]]] = ..., configuration: _Optional[_Union[Configuration, _Mapping]] = ...) -> None: ...

class Configuration(_message.Message):
    __slots__ = ("changed_time", "problems")
    CHANGED_TIME_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    changed_time: _timestamp_pb2.Timestamp
    problems: int
    def __init__(self, changed_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., problems: _Optional[int] = ...) -> None: ...

class Pipeline(_message.Message):
    __slots__ = ("id", "receivers", "processors", "exporters", "statistics")
    ID_FIELD_NUMBER: _ClassVar[int]
    RECEIVERS_FIELD_NUMBER: _ClassVar[int]
    PROCESSORS_FIELD_NUMBER: _ClassVar[int]
    EXPORTERS_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    id: str
    receivers: _containers.RepeatedScalarFieldContainer[str]
    processors: _containers.RepeatedScalarFieldContainer[str]
    exporters: _containers.RepeatedScalarFieldContainer[str]
    statistics: _containers.RepeatedCompositeFieldContainer[Statistic]
    def __init__(self, id: _Optional[str] = ..., receivers: _Optional[_Iterable[str]] = ..., processors: _Optional[_Iterable[str]] = ..., exporters: _Optional[_Iterable[str]] = ..., statistics: _Optional[_Iterable[_Union[Statistic, _Mapping]]] = ...) -> None: ...

class Component(_message.Message):
    __slots__ = ("kind", "id", "statistics")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    id: str
    statistics: _containers.RepeatedCompositeFieldContainer[Statistic]
    def __init__(self, kind: _Optional[str] = ..., id: _Optional[str] = ..., statistics: _Optional[_Iterable[_Union[Statistic, _Mapping]]] = ...) -> None: ...

class Statistic(_message.Message):
    __slots__ = ("metric", "labels", "value")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    METRIC_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    metric: str
    labels: _containers.ScalarMap[str, str]
    value: float
    def __init__(self, metric: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., value: _Optional[float] = ...) -> None: ...

class SetLogLevelRequest(_message.Message):
    __slots__ = ("level", "who")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    level: LogLevel
    who: str
    def __init__(self, level: _Optional[_Union[LogLevel, str]] = ..., who: _Optional[str] = ...) -> None: ...

class SetLogLevelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
