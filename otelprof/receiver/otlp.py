"""The `otlp` receiver: its configuration and its factory."""

from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from otelprof._core import Limits
from otelprof.component import ComponentConfig, ComponentSettings, ReceiverFactory
from otelprof.config.endpoint import Endpoint
from otelprof.config.section import Section
from otelprof.config.tls import ServerTLS
from otelprof.config.units import Size
from otelprof.consumer import Consumer
from otelprof.receiver.otlp_grpc import GrpcReceiver, GrpcSettings

_GIB: Final = 1 << 30
_MIB: Final = 1 << 20
_INT32: Final = (1 << 31) - 1


class GrpcConfig(Section):
    """OTLP over gRPC.

    Attributes:
        endpoint: where to listen.
        max_recv_msg_size_mib: of one message as it comes, in MiB, 1 to 2047.
        max_concurrent_requests: how many are worked on at once, 1 to 1000; further ones wait.
        tls: None listens in the clear.
        allow_unauthenticated: let anybody who can reach a non-loopback endpoint send.
    """

    endpoint: Endpoint = Endpoint("127.0.0.1", 4317)
    max_recv_msg_size_mib: int = Field(default=16, ge=1, le=2047)
    max_concurrent_requests: int = Field(default=64, ge=1, le=1000)
    tls: ServerTLS | None = None
    allow_unauthenticated: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        mutual_tls = self.tls is not None and self.tls.client_ca_file is not None
        if not (self.endpoint.is_loopback or mutual_tls or self.allow_unauthenticated):
            message = (
                f"{self.endpoint} can be reached from other machines: give tls.cert_file, tls.key_file and "
                "tls.client_ca_file so that clients prove themselves, or write allow_unauthenticated: true "
                "to let anybody send"
            )
            raise ValueError(message)
        return self


class LimitsConfig(Section):
    """What one request may hold. Over the last three, only the Profiles concerned are refused.

    Attributes:
        max_body_bytes: of the inflated body, up to 2 GiB; None takes `max_recv_msg_size_mib`.
        max_profiles: of one request.
        max_table_entries: of one dictionary table, of all Samples, of all Lines, of all nested attribute
            values: of each.
        max_stack_depth: Locations of one Stack.
        max_attributes: of one owner (Sample, Location, Mapping, Profile, Resource or scope).
        max_attribute_depth: nesting of one attribute's value.
    """

    max_body_bytes: Annotated[Size, Field(ge=1, le=2 * _GIB)] | None = None
    max_profiles: int = Field(default=10_000, ge=1, le=_INT32)
    max_table_entries: int = Field(default=1_000_000, ge=1, le=_INT32)
    max_stack_depth: int = Field(default=4096, ge=1, le=_INT32)
    max_attributes: int = Field(default=256, ge=1, le=_INT32)
    max_attribute_depth: int = Field(default=16, ge=1, le=64)


class ProtocolsConfig(Section):
    """Which protocols are spoken."""

    # `grpc:` with nothing after it means the defaults, as in the collector.
    grpc: Annotated[GrpcConfig, BeforeValidator(lambda value: {} if value is None else value)]

    @model_validator(mode="before")
    @classmethod
    def _no_http(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the YAML holds
        if isinstance(value, dict) and "http" in value:
            message = "http is not offered yet: remove it, and let clients send OTLP/gRPC (port 4317)"
            raise ValueError(message)
        return value


class OtlpReceiverConfig(ComponentConfig):
    """The `otlp` receiver."""

    protocols: ProtocolsConfig
    limits: LimitsConfig = LimitsConfig()


def _create(config: OtlpReceiverConfig, settings: ComponentSettings, consumer: Consumer) -> GrpcReceiver:
    grpc = config.protocols.grpc
    max_message_bytes = grpc.max_recv_msg_size_mib * _MIB
    limits = config.limits.model_dump()
    if limits["max_body_bytes"] is None:
        limits["max_body_bytes"] = max_message_bytes
    grpc_settings = GrpcSettings(
        endpoint=grpc.endpoint,
        max_message_bytes=max_message_bytes,
        max_concurrent_requests=grpc.max_concurrent_requests,
        tls=grpc.tls,
        limits=Limits(**limits),
    )
    return GrpcReceiver(grpc_settings, settings, consumer)


factory: Final = ReceiverFactory(OtlpReceiverConfig, _create)
