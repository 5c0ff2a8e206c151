//! The messages of a request as JSON names them. A test holds this against the official descriptors.

use Kind::{Base64, Bool, Double, Fixed64, Hex, Int32, Int64, Text, Uint32, Uint64};

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Bool,
    Int32,
    Uint32,
    Int64,
    Uint64,
    Fixed64,
    Double,
    /// A `string`.
    Text,
    /// `bytes`, in base 64.
    Base64,
    /// An id: `bytes`, in hexadecimal.
    Hex,
    Message(&'static Message),
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    /// In lowerCamelCase.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) is_repeated: bool,
}

impl Field {
    /// Whether a key means this field: its name in lowerCamelCase, or in `snake_case`.
    fn is_called(&self, key: &str) -> bool {
        self.name == key || key.contains('_') && self.is_snake_case(key)
    }

    fn is_snake_case(&self, key: &str) -> bool {
        let mut rest = key.bytes();
        self.name.bytes().all(|byte| {
            let is_word = !byte.is_ascii_uppercase() || rest.next() == Some(b'_');
            is_word && rest.next() == Some(byte.to_ascii_lowercase())
        }) && rest.next().is_none()
    }
}

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: &'static str,
    /// Whether it holds one of its fields at the most, which is written even when it is zero.
    pub(super) is_oneof: bool,
    pub(super) fields: &'static [Field],
}

impl Message {
    /// The place of the field that a key means.
    pub(super) fn by_name(&self, key: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.is_called(key))
    }

    /// The place of the field of a number.
    pub(super) fn by_number(&self, number: u32) -> Option<usize> {
        self.fields.iter().position(|field| field.number == number)
    }
}

const fn one(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, is_repeated: false }
}

const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, is_repeated: true }
}

const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    Message { name, is_oneof: false, fields }
}

pub(super) static REQUEST: Message = message(
    "ExportProfilesServiceRequest",
    &[many(1, "resourceProfiles", Kind::Message(&RESOURCE_PROFILES)), one(2, "dictionary", Kind::Message(&DICTIONARY))],
);

static RESOURCE_PROFILES: Message = message(
    "ResourceProfiles",
    &[
        one(1, "resource", Kind::Message(&RESOURCE)),
        many(2, "scopeProfiles", Kind::Message(&SCOPE_PROFILES)),
        one(3, "schemaUrl", Text),
    ],
);

static RESOURCE: Message = message(
    "Resource",
    &[
        many(1, "attributes", Kind::Message(&KEY_VALUE)),
        one(2, "droppedAttributesCount", Uint32),
        many(3, "entityRefs", Kind::Message(&ENTITY_REF)),
    ],
);

static ENTITY_REF: Message = message(
    "EntityRef",
    &[one(1, "schemaUrl", Text), one(2, "type", Text), many(3, "idKeys", Text), many(4, "descriptionKeys", Text)],
);

static KEY_VALUE: Message = message(
    "KeyValue",
    &[one(1, "key", Text), one(2, "value", Kind::Message(&ANY_VALUE)), one(3, "keyStrindex", Int32)],
);

static ANY_VALUE: Message = Message {
    name: "AnyValue",
    is_oneof: true,
    fields: &[
        one(1, "stringValue", Text),
        one(2, "boolValue", Bool),
        one(3, "intValue", Int64),
        one(4, "doubleValue", Double),
        one(5, "arrayValue", Kind::Message(&ARRAY_VALUE)),
        one(6, "kvlistValue", Kind::Message(&KEY_VALUE_LIST)),
        one(7, "bytesValue", Base64),
        one(8, "stringValueStrindex", Int32),
    ],
};

static ARRAY_VALUE: Message = message("ArrayValue", &[many(1, "values", Kind::Message(&ANY_VALUE))]);

static KEY_VALUE_LIST: Message = message("KeyValueList", &[many(1, "values", Kind::Message(&KEY_VALUE))]);

static SCOPE_PROFILES: Message = message(
    "ScopeProfiles",
    &[one(1, "scope", Kind::Message(&SCOPE)), many(2, "profiles", Kind::Message(&PROFILE)), one(3, "schemaUrl", Text)],
);

static SCOPE: Message = message(
    "InstrumentationScope",
    &[
        one(1, "name", Text),
        one(2, "version", Text),
        many(3, "attributes", Kind::Message(&KEY_VALUE)),
        one(4, "droppedAttributesCount", Uint32),
    ],
);

static PROFILE: Message = message(
    "Profile",
    &[
        one(1, "sampleType", Kind::Message(&VALUE_TYPE)),
        many(2, "samples", Kind::Message(&SAMPLE)),
        one(3, "timeUnixNano", Fixed64),
        one(4, "durationNano", Uint64),
        one(5, "periodType", Kind::Message(&VALUE_TYPE)),
        one(6, "period", Int64),
        one(7, "profileId", Hex),
        one(8, "droppedAttributesCount", Uint32),
        one(9, "originalPayloadFormat", Text),
        one(10, "originalPayload", Base64),
        many(11, "attributeIndices", Int32),
    ],
);

static VALUE_TYPE: Message = message("ValueType", &[one(1, "typeStrindex", Int32), one(2, "unitStrindex", Int32)]);

static SAMPLE: Message = message(
    "Sample",
    &[
        one(1, "stackIndex", Int32),
        many(2, "attributeIndices", Int32),
        one(3, "linkIndex", Int32),
        many(4, "values", Int64),
        many(5, "timestampsUnixNano", Fixed64),
    ],
);

static DICTIONARY: Message = message(
    "ProfilesDictionary",
    &[
        many(1, "mappingTable", Kind::Message(&MAPPING)),
        many(2, "locationTable", Kind::Message(&LOCATION)),
        many(3, "functionTable", Kind::Message(&FUNCTION)),
        many(4, "linkTable", Kind::Message(&LINK)),
        many(5, "stringTable", Text),
        many(6, "attributeTable", Kind::Message(&KEY_VALUE_AND_UNIT)),
        many(7, "stackTable", Kind::Message(&STACK)),
    ],
);

static MAPPING: Message = message(
    "Mapping",
    &[
        one(1, "memoryStart", Uint64),
        one(2, "memoryLimit", Uint64),
        one(3, "fileOffset", Uint64),
        one(4, "filenameStrindex", Int32),
        many(5, "attributeIndices", Int32),
    ],
);

static LOCATION: Message = message(
    "Location",
    &[
        one(1, "mappingIndex", Int32),
        one(2, "address", Uint64),
        many(3, "lines", Kind::Message(&LINE)),
        many(4, "attributeIndices", Int32),
    ],
);

static LINE: Message =
    message("Line", &[one(1, "functionIndex", Int32), one(2, "line", Int64), one(3, "column", Int64)]);

static FUNCTION: Message = message(
    "Function",
    &[
        one(1, "nameStrindex", Int32),
        one(2, "systemNameStrindex", Int32),
        one(3, "filenameStrindex", Int32),
        one(4, "startLine", Int64),
    ],
);

static LINK: Message = message("Link", &[one(1, "traceId", Hex), one(2, "spanId", Hex)]);

static KEY_VALUE_AND_UNIT: Message = message(
    "KeyValueAndUnit",
    &[one(1, "keyStrindex", Int32), one(2, "value", Kind::Message(&ANY_VALUE)), one(3, "unitStrindex", Int32)],
);

static STACK: Message = message("Stack", &[many(1, "locationIndices", Int32)]);
