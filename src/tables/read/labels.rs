//! Rows of the table `labels`, by id.

use arrow_array::cast::AsArray;
use arrow_array::{Array, MapArray, RecordBatch};
use arrow_schema::{DataType, Field, Fields};
use rustc_hash::FxHashMap;

use super::{column, numbers, texts};
use crate::error::Result;

/// What a labels row says; without one, that of a service alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LabelSet {
    pub(super) resource: Vec<(String, String)>,
    pub(super) scope: (String, String),
    pub(super) period_type: (String, String),
    pub(super) period: i64,
    pub(super) attributes: Vec<(String, String)>,
}

/// By id.
pub(super) struct Labels(FxHashMap<i64, LabelSet>);

impl Labels {
    pub(super) fn read(batches: &[RecordBatch]) -> Result<Self> {
        let mut labels = FxHashMap::default();
        for batch in batches {
            let (ids, period) = (numbers(batch, "labels_id")?, numbers(batch, "period")?);
            let [scope, version, period_type, period_unit] =
                ["scope", "scope_version", "period_type", "period_unit"].map(|name| texts(batch, name));
            let (scope, version, period_type, period_unit) = (scope?, version?, period_type?, period_unit?);
            let (resource, attributes) = (maps(batch, "resource")?, maps(batch, "attributes")?);
            for row in 0..batch.num_rows() {
                labels.entry(ids.value(row)).or_insert_with(|| LabelSet {
                    resource: pairs(&resource, row),
                    scope: (scope.value(row).to_owned(), version.value(row).to_owned()),
                    period_type: (period_type.value(row).to_owned(), period_unit.value(row).to_owned()),
                    period: period.value(row),
                    attributes: pairs(&attributes, row),
                });
            }
        }
        Ok(Self(labels))
    }

    pub(super) fn of(&self, id: Option<i64>, service: &str) -> LabelSet {
        let mut set = id.and_then(|id| self.0.get(&id)).cloned().unwrap_or_default();
        // The column knows it in any case, and what is no text in the attribute has another name there.
        set.resource.retain(|(key, _)| key != "service.name");
        set.resource.push(("service.name".to_owned(), service.to_owned()));
        set
    }
}

fn maps(batch: &RecordBatch, name: &str) -> Result<MapArray> {
    let fields =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    let entries = Field::new("key_value", DataType::Struct(fields), false);
    Ok(column(batch, name, &DataType::Map(entries.into(), false))?.as_map().clone())
}

fn pairs(maps: &MapArray, row: usize) -> Vec<(String, String)> {
    let entries = maps.value(row);
    let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
    (0..entries.len()).map(|i| (keys.value(i).to_owned(), values.value(i).to_owned())).collect()
}
