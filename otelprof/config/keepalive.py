"""How long connections of a gRPC server live, with the collector's keys (`configgrpc`, `keepalive`)."""

from pydantic import Field

from otelprof.config.section import Section
from otelprof.config.units import Duration


class ServerParametersConfig(Section):
    """What the server does with a connection.

    Attributes:
        max_connection_idle: seconds without a call after which it is closed; 0 never.
        max_connection_age: seconds after which it is closed, so that clients spread again; 0 never.
        max_connection_age_grace: seconds that calls have to end then; 0 is for ever.
        time: seconds without anything after which the client is pinged, 1 or more.
        timeout: seconds that the client may take to answer, 1 or more.
    """

    max_connection_idle: Duration = 0.0
    max_connection_age: Duration = 0.0
    max_connection_age_grace: Duration = 0.0
    time: Duration = Field(default=7200.0, ge=1)
    timeout: Duration = Field(default=20.0, ge=1)


class EnforcementPolicyConfig(Section):
    """Which clients are cut off because they ping too much.

    Attributes:
        min_time: seconds between two pings at least.
        permit_without_stream: let a client ping that has no call open.
    """

    min_time: Duration = 300.0
    permit_without_stream: bool = False


class KeepaliveConfig(Section):
    """Both."""

    server_parameters: ServerParametersConfig = ServerParametersConfig()
    enforcement_policy: EnforcementPolicyConfig = EnforcementPolicyConfig()

    def channel_options(self) -> list[tuple[str, int]]:
        """It as gRPC's own arguments (`grpc/impl/channel_arg_names.h`)."""
        parameters, policy = self.server_parameters, self.enforcement_policy
        where_not_0 = {
            "grpc.max_connection_idle_ms": parameters.max_connection_idle,
            "grpc.max_connection_age_ms": parameters.max_connection_age,
            "grpc.max_connection_age_grace_ms": parameters.max_connection_age_grace,
        }
        always = {
            "grpc.keepalive_time_ms": parameters.time,
            "grpc.keepalive_timeout_ms": parameters.timeout,
            # Without it a connection is closed a minute after a ping that nobody answers, whatever that says.
            "grpc.http2.ping_timeout_ms": parameters.timeout,
            "grpc.http2.min_ping_interval_without_data_ms": policy.min_time,
        }
        return [
            *((name, _millis(secs)) for name, secs in where_not_0.items() if secs),
            *((name, _millis(secs)) for name, secs in always.items()),
            ("grpc.keepalive_permit_without_calls", int(policy.permit_without_stream)),
        ]


def _millis(secs: float) -> int:
    """As gRPC takes it: 32 bits."""
    return min(round(secs * 1000), (1 << 31) - 1)
