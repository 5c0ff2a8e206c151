//! `ExportTraceServiceRequest`, as far as a decision about traces needs it: ids, status, times, names.
//!
//! Source: `trace.proto` and `trace_service.proto` of opentelemetry-proto 1.x, which are stable.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::wire::{Reader, Span as Piece};

/// `STATUS_CODE_ERROR`
const ERROR: u32 = 2;

/// What stands for a missing `service.name`, by the resource semantic conventions.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// One span, its texts as pieces of the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// `trace_id`, not zero
    pub trace_id: [u8; 16],
    /// `span_id`, not zero
    pub span_id: [u8; 8],
    /// `start_time_unix_nano`; 0 when it is not known.
    pub start_nanos: u64,
    /// `end_time_unix_nano`; 0 when it is not known.
    pub end_nanos: u64,
    /// `name`, UTF-8
    pub name: Piece,
    /// Whether `status.code` is an error.
    pub is_error: bool,
    /// Which of [`Spans::services`] it is of.
    pub service: u32,
}

/// Why a span is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// `trace_id` is not 16 bytes that are not all zero.
    TraceId,
    /// `span_id` is not 8 bytes that are not all zero.
    SpanId,
    /// `name` is not UTF-8.
    Name,
}

impl Refused {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::TraceId, Self::SpanId, Self::Name];

    /// The word for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::TraceId => "invalid_trace_id",
            Self::SpanId => "invalid_span_id",
            Self::Name => "invalid_utf8",
        }
    }
}

/// The spans of a request.
#[derive(Debug, Default)]
pub struct Spans {
    /// Those that can be used.
    pub spans: Vec<Span>,
    /// The `service.name` of each `ResourceSpans`, a piece of the body; `None` when it is missing, empty or not UTF-8.
    pub services: Vec<Option<Piece>>,
    /// How many were not taken, in the order of [`Refused::ALL`].
    pub refused: [u64; 3],
}

impl Spans {
    /// Read a request that is inflated.
    ///
    /// # Errors
    /// `Malformed` when it is not the wire form of the message; `TooMany` over `max_table_entries` spans, or as many
    /// `ResourceSpans`.
    pub fn read(body: &[u8], limits: &Limits) -> Result<Self> {
        let mut spans = Self::default();
        let whole = Piece { start: 0, len: body.len() as u32 };
        let mut request = Reader::new(body, whole, "ExportTraceServiceRequest");
        while let Some((field, wire)) = request.next_field()? {
            match field {
                1 => {
                    let group = request.message(wire, "ExportTraceServiceRequest.resource_spans")?;
                    check(spans.services.len(), "ResourceSpans", limits)?;
                    spans.resource_spans(body, group, limits)?;
                }
                _ => request.skip(field, wire)?,
            }
        }
        Ok(spans)
    }

    /// How many spans each service has; `unknown_service` where a Resource does not say.
    pub fn by_service<'a>(&self, body: &'a [u8]) -> BTreeMap<&'a str, u64> {
        let name = |piece: Piece| std::str::from_utf8(piece.of(body)).unwrap_or_default();
        let names: Vec<&str> = self.services.iter().map(|piece| piece.map_or(UNKNOWN_SERVICE, name)).collect();
        let mut counts = BTreeMap::new();
        for span in &self.spans {
            *counts.entry(names[span.service as usize]).or_default() += 1;
        }
        counts
    }

    fn resource_spans(&mut self, body: &[u8], mut group: Reader<'_>, limits: &Limits) -> Result<()> {
        let service = self.services.len();
        self.services.push(None);
        while let Some((field, wire)) = group.next_field()? {
            match field {
                1 => {
                    let found = service_name(body, group.message(wire, "ResourceSpans.resource")?)?;
                    self.services[service] = self.services[service].or(found);
                }
                2 => {
                    self.scope_spans(body, group.message(wire, "ResourceSpans.scope_spans")?, service as u32, limits)?;
                }
                _ => group.skip(field, wire)?,
            }
        }
        Ok(())
    }

    fn scope_spans(&mut self, body: &[u8], mut scope: Reader<'_>, service: u32, limits: &Limits) -> Result<()> {
        while let Some((field, wire)) = scope.next_field()? {
            match field {
                2 => self.span(body, scope.message(wire, "ScopeSpans.spans")?, service, limits)?,
                _ => scope.skip(field, wire)?,
            }
        }
        Ok(())
    }

    fn span(&mut self, body: &[u8], mut message: Reader<'_>, service: u32, limits: &Limits) -> Result<()> {
        let mut span = Span { service, ..Span::default() };
        let [mut trace_id, mut span_id] = [Piece::default(); 2];
        while let Some((field, wire)) = message.next_field()? {
            match field {
                1 => trace_id = message.span(wire, "Span.trace_id")?,
                2 => span_id = message.span(wire, "Span.span_id")?,
                5 => span.name = message.span(wire, "Span.name")?,
                7 => span.start_nanos = message.fixed64(wire, "Span.start_time_unix_nano")?,
                8 => span.end_nanos = message.fixed64(wire, "Span.end_time_unix_nano")?,
                15 => {
                    let mut status = message.message(wire, "Span.status")?;
                    while let Some((field, wire)) = status.next_field()? {
                        match field {
                            3 => span.is_error = status.index(wire, "Status.code")? == ERROR,
                            _ => status.skip(field, wire)?,
                        }
                    }
                }
                _ => message.skip(field, wire)?,
            }
        }
        let seen = self.spans.len() + self.refused.iter().sum::<u64>() as usize;
        check(seen, "spans", limits)?;
        let refused = if !id(trace_id.of(body), &mut span.trace_id) {
            Refused::TraceId
        } else if !id(span_id.of(body), &mut span.span_id) {
            Refused::SpanId
        } else if std::str::from_utf8(span.name.of(body)).is_err() {
            Refused::Name
        } else {
            self.spans.push(span);
            return Ok(());
        };
        self.refused[refused as usize] += 1;
        Ok(())
    }
}

fn check(count: usize, what: &'static str, limits: &Limits) -> Result<()> {
    let limit = limits.max_table_entries;
    if count < limit { Ok(()) } else { Err(Error::TooMany { what, limit, key: "max_table_entries" }) }
}

/// Copy an id; whether it has its length and is not zero.
fn id<const LEN: usize>(bytes: &[u8], id: &mut [u8; LEN]) -> bool {
    bytes.try_into().is_ok_and(|bytes: [u8; LEN]| {
        *id = bytes;
        bytes != [0; LEN]
    })
}

/// The first `service.name` of a Resource, when it is a text.
fn service_name(body: &[u8], mut resource: Reader<'_>) -> Result<Option<Piece>> {
    let mut found = None;
    while let Some((field, wire)) = resource.next_field()? {
        if field != 1 {
            resource.skip(field, wire)?;
            continue;
        }
        let mut pair = resource.message(wire, "Resource.attributes")?;
        let (mut key, mut text) = (Piece::default(), None);
        while let Some((field, wire)) = pair.next_field()? {
            match field {
                1 => key = pair.span(wire, "KeyValue.key")?,
                2 => string_value(pair.message(wire, "KeyValue.value")?, &mut text)?,
                _ => pair.skip(field, wire)?,
            }
        }
        if found.is_none() && key.of(body) == b"service.name" {
            found = text.filter(|text| text.len > 0 && std::str::from_utf8(text.of(body)).is_ok());
        }
    }
    Ok(found)
}

/// The text of an `AnyValue`; of a oneof, the last member counts.
fn string_value(mut value: Reader<'_>, text: &mut Option<Piece>) -> Result<()> {
    while let Some((field, wire)) = value.next_field()? {
        if field == 1 {
            *text = Some(value.span(wire, "AnyValue.string_value")?);
        } else {
            *text = None;
            value.skip(field, wire)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    fn request(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.message(1, 0, |group| group.message(2, 0, |scope| scope.message(2, 0, write)));
        writer.into_bytes()
    }

    #[test]
    fn a_span_is_refused_alone_for_its_id_or_its_name() {
        let bodies = [
            request(|span| span.bytes(1, &[1; 15])),
            request(|span| span.bytes(1, &[0; 16])),
            request(|span| span.bytes(1, &[1; 16])),
            request(|span| {
                span.bytes(1, &[1; 16]);
                span.bytes(2, &[0; 8]);
            }),
            request(|span| {
                span.bytes(1, &[1; 16]);
                span.bytes(2, &[1; 8]);
                span.bytes(5, b"\xff");
            }),
        ];
        let read = Spans::read(&bodies.concat(), &Limits::default()).unwrap();
        assert_eq!((0, [2, 2, 1]), (read.spans.len(), read.refused));
    }

    #[test]
    fn spans_over_the_limit_are_an_error_whether_they_are_good_or_bad() {
        let body = request(|span| span.bytes(1, &[1; 15])).repeat(3);
        let limits = |max_table_entries| Limits { max_table_entries, ..Limits::default() };
        assert!(Spans::read(&body, &limits(3)).is_ok());
        assert!(Spans::read(&body, &limits(2)).is_err());
    }

    #[test]
    fn every_cut_of_a_request_is_read_or_refused() {
        let body = request(|span| {
            span.bytes(1, &[1; 16]);
            span.bytes(2, &[1; 8]);
            span.fixed64(7, 5);
            span.message(15, 2, |status| status.uint64(3, 2));
        });
        for end in 1..body.len() {
            assert!(Spans::read(&body[..end], &Limits::default()).is_err(), "cut at {end}");
        }
        assert!(Spans::read(&body, &Limits::default()).unwrap().spans[0].is_error);
    }
}
