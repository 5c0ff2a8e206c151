//! The columns of `frames` and `samples`, in the types that they are read in.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, TimestampMicrosecondType};
use arrow_array::{Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, TimeUnit};

use super::{column, numbers, optional, optional_numbers, optional_texts, texts};
use crate::error::Result;

pub(super) struct FrameRow {
    pub(super) function: String,
    pub(super) system_name: String,
    pub(super) file: String,
    pub(super) start_line: i64,
    pub(super) line: i64,
    pub(super) column: i64,
    pub(super) mapping: String,
    pub(super) build_id: String,
    pub(super) address: i64,
    pub(super) frame_type: String,
}

pub(super) struct FrameColumns {
    pub(super) location_id: Int64Array,
    pub(super) inline: Int32Array,
    pub(super) texts: [StringArray; 6],
    pub(super) numbers: [Int64Array; 4],
}

impl FrameColumns {
    pub(super) fn of(batch: &RecordBatch) -> Result<Self> {
        let text = |name| texts(batch, name);
        let number = |name| numbers(batch, name);
        Ok(Self {
            location_id: number("location_id")?,
            inline: column(batch, "inline", &DataType::Int32)?.as_primitive::<Int32Type>().clone(),
            texts: [
                text("function")?,
                text("system_name")?,
                text("file")?,
                text("mapping")?,
                text("build_id")?,
                text("frame_type")?,
            ],
            numbers: [number("start_line")?, number("line")?, number("column")?, number("address")?],
        })
    }

    pub(super) fn key(&self, row: usize) -> (i64, i32) {
        (self.location_id.value(row), self.inline.value(row))
    }

    pub(super) fn frame(&self, row: usize) -> FrameRow {
        let [function, system_name, file, mapping, build_id, frame_type] =
            self.texts.each_ref().map(|texts| texts.value(row).to_owned());
        let [start_line, line, column, address] = self.numbers.each_ref().map(|numbers| numbers.value(row));
        FrameRow { function, system_name, file, start_line, line, column, mapping, build_id, address, frame_type }
    }
}

pub(super) struct SampleColumns {
    pub(super) service: StringArray,
    pub(super) sample_type: StringArray,
    pub(super) unit: StringArray,
    pub(super) stack_id: Int64Array,
    pub(super) value: Int64Array,
    pub(super) window_start: Option<TimestampMicrosecondArray>,
    pub(super) window_ns: Option<Int64Array>,
    pub(super) trace_id: Option<StringArray>,
    pub(super) span_id: Option<StringArray>,
    pub(super) trace_state: Option<StringArray>,
    pub(super) span_name: Option<StringArray>,
    pub(super) labels_id: Option<Int64Array>,
}

impl SampleColumns {
    pub(super) fn of(batch: &RecordBatch) -> Result<Self> {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let starts = optional(batch, "window_start", &micros)?;
        Ok(Self {
            service: texts(batch, "service")?,
            sample_type: texts(batch, "sample_type")?,
            unit: texts(batch, "unit")?,
            stack_id: numbers(batch, "stack_id")?,
            value: numbers(batch, "value")?,
            window_start: starts.map(|array| array.as_primitive::<TimestampMicrosecondType>().clone()),
            window_ns: optional_numbers(batch, "window_ns")?,
            trace_id: optional_texts(batch, "trace_id")?,
            span_id: optional_texts(batch, "span_id")?,
            trace_state: optional_texts(batch, "trace_state")?,
            span_name: optional_texts(batch, "span_name")?,
            labels_id: optional_numbers(batch, "labels_id")?,
        })
    }

    pub(super) fn labels_id(&self, row: usize) -> Option<i64> {
        self.labels_id.as_ref().filter(|ids| ids.is_valid(row)).map(|ids| ids.value(row))
    }
}
