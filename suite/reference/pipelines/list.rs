//! Lists: pages by token, order, filters.

use std::cmp::Ordering;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    message::{self, PREDICATE},
    refusal::{Refusal, code},
};

/// What can be listed of a kind of object.
#[derive(Debug)]
pub(super) struct Table {
    /// The kind, as errors name it.
    pub(super) kind: &'static str,
    /// The table, as page tokens name it.
    pub(super) name: &'static str,
    /// The key of a list's items.
    pub(super) items: &'static str,
    /// The fields that may be sorted and filtered by, and the columns that they stand for.
    pub(super) fields: &'static [(&'static str, &'static str)],
    /// Which faults spoil its pages, its order and its filters.
    pub(super) faults: TableFaults,
}

/// The faults of one table's lists; empty where there is none.
#[derive(Debug, Default)]
pub(super) struct TableFaults {
    /// Each page but the first misses its first object.
    pub(super) pages: &'static str,
    /// `desc` is dropped.
    pub(super) sorts: &'static str,
}

/// A row of a table.
pub(super) trait Row {
    /// Its table.
    const TABLE: Table;
    /// Its id.
    fn id(&self) -> &str;
    /// A column of [`Table::fields`].
    fn cell(&self, column: &str) -> Cell;
    /// The object as lists show it.
    fn json(&self) -> Value;
}

/// What is in a column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    /// A number; times are seconds since 1970.
    Number(i64),
    /// Text.
    Text(String),
}

impl Cell {
    /// A cell of text.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// What rows are sorted by: the database's collation takes no notice of case.
    fn folded(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.to_lowercase()),
            number @ Self::Number(_) => number,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Number(number) => json!(number),
            Self::Text(text) => json!(text),
        }
    }
}

/// The default and the longest page.
const PAGE: usize = 20;
const LONGEST_PAGE: usize = 200;

/// What a list was asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    /// `page_token`.
    pub(super) token: String,
    /// `page_size`, 0 for the default.
    pub(super) size: i64,
    /// `sort_by`.
    pub(super) order: String,
    /// `filter`.
    pub(super) filter: String,
}

/// Where the next page begins and how it goes on, as the real server writes it: base64 of this as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Token {
    sort_by_field_name: String,
    sort_by_field_value: Value,
    key_field_name: String,
    key_field_value: String,
    is_desc: bool,
    model_name: String,
    filter: Value,
}

/// One page of `rows`, as the answer's JSON. `broken` says which faults are on.
pub(super) fn page<'r, R: Row + 'r>(
    rows: impl Iterator<Item = &'r R>,
    asked: &Asked,
    broken: &dyn Fn(&str) -> bool,
) -> Result<Value, Refusal> {
    let mut plan = plan(&R::TABLE, asked, broken)?;
    let alone = plan.filter.len() == 1 && plan.filter[0].operation == "NOT_EQUALS";
    if alone && broken("list/filters-by-inequality") {
        plan.filter.clear();
    }
    let mut rows: Vec<&R> = rows
        .filter(|row| {
            let mut hold = plan.filter.iter().map(|p| p.holds(*row, broken));
            let one_column = plan.filter.windows(2).all(|w| w[0].column == w[1].column);
            if broken("list/joins-predicates") && one_column && !plan.filter.is_empty() {
                hold.any(|holds| holds)
            } else {
                hold.all(|holds| holds)
            }
        })
        .collect();
    let key = |row: &R| (row.cell(plan.column).folded(), row.id().to_owned());
    rows.sort_by(|a, b| plan.turned(key(a).cmp(&key(b))));
    let total = rows.len();
    let mut begin = 0;
    if let Some((value, id)) = &plan.from {
        let from = (value.clone().folded(), id.clone());
        begin = rows.partition_point(|row| plan.turned(key(row).cmp(&from)) == Ordering::Less);
        if broken(R::TABLE.faults.pages) {
            begin += 1;
        }
    }
    let rest = rows.get(begin..).unwrap_or_default();
    let mut answer = Map::new();
    let shown: Vec<Value> = rest.iter().take(plan.size).map(|row| row.json()).collect();
    if !shown.is_empty() {
        answer.insert(R::TABLE.items.to_owned(), shown.into());
    }
    if total > 0 {
        answer.insert("total_size".to_owned(), total.into());
    }
    if let Some(next) = rest.get(plan.size) {
        let token = Token {
            sort_by_field_name: plan.column.to_owned(),
            sort_by_field_value: next.cell(plan.column).json(),
            key_field_name: "UUID".to_owned(),
            key_field_value: next.id().to_owned(),
            is_desc: plan.descending,
            model_name: R::TABLE.name.to_owned(),
            filter: plan.filter_text.clone().into(),
        };
        let text = serde_json::to_vec(&token).unwrap_or_default();
        answer.insert("next_page_token".to_owned(), BASE64.encode(text).into());
    }
    Ok(answer.into())
}

/// A list that was understood.
struct Plan {
    size: usize,
    column: &'static str,
    descending: bool,
    filter: Vec<Predicate>,
    filter_text: String,
    from: Option<(Cell, String)>,
}

impl Plan {
    fn turned(&self, order: Ordering) -> Ordering {
        if self.descending {
            order.reverse()
        } else {
            order
        }
    }
}

fn plan(table: &Table, asked: &Asked, broken: &dyn Fn(&str) -> bool) -> Result<Plan, Refusal> {
    if asked.size < 0 && !broken("list/refuses-negative-page-size") {
        let said = format!("The page size should be greater than 0. Got {}", asked.size);
        return Err(Refusal::invalid(said));
    }
    if usize::try_from(asked.size).is_ok_and(|size| size > LONGEST_PAGE)
        && broken("list/takes-large-page-size")
    {
        return Err(Refusal::invalid("The page size is too large"));
    }
    let size = match usize::try_from(asked.size.max(0)).unwrap_or(LONGEST_PAGE) {
        0 => PAGE,
        size => size.min(LONGEST_PAGE),
    };
    let (column, descending) = match order(table, &asked.order) {
        Err(_) if broken("list/refuses-unknown-order") => ("CreatedAtInSec", false),
        order => order?,
    };
    let by_time = column.ends_with("InSec");
    let column = if by_time && !asked.order.is_empty() && broken("list/sorts-by-time") {
        "Name"
    } else {
        column
    };
    let undone = if by_time {
        broken("list/sorts-by-time:desc")
    } else {
        broken(table.faults.sorts)
    };
    let filter = match predicates(table, &asked.filter, broken) {
        Err(refusal)
            if broken("list/refuses-bad-filter") && !refusal.message.contains(NO_MATCH) =>
        {
            Vec::new()
        }
        filter => filter?,
    };
    let mut plan = Plan {
        size,
        column,
        descending: descending && !undone,
        filter,
        filter_text: asked.filter.clone(),
        from: None,
    };
    if !asked.token.is_empty() {
        match token(table, asked, &mut plan, broken) {
            Err(_) if broken("list/refuses-bad-token") && BASE64.decode(&asked.token).is_err() => {}
            result => result?,
        }
    }
    Ok(plan)
}

fn token(
    table: &Table,
    asked: &Asked,
    plan: &mut Plan,
    broken: &dyn Fn(&str) -> bool,
) -> Result<(), Refusal> {
    let bad = |why: String| Refusal {
        code: code::INVALID_ARGUMENT,
        message: format!("InvalidInputError: Invalid page token: {why}"),
        said: Some("Invalid page token".to_owned()),
        said_as: None,
    };
    let bytes = BASE64.decode(&asked.token).map_err(|error| {
        let at = asked
            .token
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(asked.token.len() / 4 * 4);
        tracing::debug!(%error, "a page token is not base64");
        bad(format!("illegal base64 data at input byte {at}"))
    })?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    let column = table
        .fields
        .iter()
        .find(|(_, column)| *column == token.sort_by_field_name);
    let Some((_, column)) = column else {
        return Err(bad(format!("unknown field {}", token.sort_by_field_name)));
    };
    let same_order = asked.order.is_empty()
        || order(table, &asked.order).is_ok_and(|order| order == (*column, token.is_desc));
    let any = broken("list/refuses-token-of-other-order");
    if token.model_name != table.name || !(same_order || any) {
        return Err(Refusal::invalid(
            "page token does not match the supplied sort by and/or filtering criteria. Either specify the same \
             criteria or leave the latter empty if page token is specified",
        ));
    }
    let filter_text = token.filter.as_str().unwrap_or_default();
    if asked.filter.is_empty() {
        plan.filter = predicates(table, filter_text, broken)?;
        filter_text.clone_into(&mut plan.filter_text);
    } else if filter_text != asked.filter {
        return Err(Refusal::invalid(
            "page token does not match the supplied sort by and/or filtering criteria",
        ));
    }
    plan.column = column;
    plan.descending = token.is_desc;
    let value = match token.sort_by_field_value {
        Value::Number(number) => Cell::Number(number.as_i64().unwrap_or_default()),
        Value::String(text) => Cell::Text(text),
        other => return Err(bad(format!("{other} is no value"))),
    };
    plan.from = Some((value, token.key_field_value));
    Ok(())
}

/// `field [asc|desc]` as a column and whether it descends.
fn order(table: &Table, text: &str) -> Result<(&'static str, bool), Refusal> {
    let mut words = text.split_whitespace();
    let field = words.next().unwrap_or("created_at");
    let descending = match (words.next(), words.next()) {
        (None | Some("asc"), None) => false,
        (Some("desc"), None) => true,
        _ => {
            return Err(Refusal::invalid(format!(
                "Received invalid sort by format {text:?}. Supported format: \"field_name\", \"field_name desc\", or \"field_name asc\""
            )));
        }
    };
    match table.fields.iter().find(|(name, _)| *name == field) {
        Some((_, column)) => Ok((column, descending)),
        None => Err(Refusal::invalid(format!(
            "Invalid sorting field: {field:?} on listable type {}",
            table.kind
        ))),
    }
}

/// What is wrong where a list of values is asked for and one is given, or the reverse.
const NO_MATCH: &str = "the value does not go with the operation";

/// One predicate of a filter.
struct Predicate {
    column: &'static str,
    operation: String,
    values: Vec<Cell>,
}

fn predicates(
    table: &Table,
    text: &str,
    broken: &dyn Fn(&str) -> bool,
) -> Result<Vec<Predicate>, Refusal> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let unreadable = |refusal: Refusal| {
        Refusal::invalid(format!(
            "failed to parse valid filter from {text:?}: {}",
            refusal.message
        ))
    };
    let value: Value = message::parse(text).map_err(unreadable)?;
    let known = value
        .as_object()
        .is_some_and(|map| map.keys().all(|key| key == "predicates"));
    let Some(list) = value["predicates"].as_array().filter(|_| known) else {
        let why = Refusal::gateway(code::INVALID_ARGUMENT, "proto: syntax error (line 1:1)");
        return Err(unreadable(why));
    };
    list.iter()
        .map(|value| {
            let fields = message::message(text, value, PREDICATE).map_err(unreadable)?;
            predicate(table, &fields, broken)
        })
        .collect()
}

fn predicate(
    table: &Table,
    fields: &Map<String, Value>,
    broken: &dyn Fn(&str) -> bool,
) -> Result<Predicate, Refusal> {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    let key = text("key");
    let Some((_, column)) = table.fields.iter().find(|(name, _)| *name == key) else {
        return Err(Refusal::invalid(format!(
            "no support for filtering on unrecognized field {key:?}"
        )));
    };
    let operation = text("operation").to_owned();
    let list = ["int_values", "long_values", "string_values"]
        .iter()
        .find_map(|key| fields.get(*key));
    let lenient = operation == "IN" && broken("list/filters-by-values:scalar");
    if (operation == "IN") != list.is_some() && !lenient {
        return Err(Refusal::invalid(format!("{NO_MATCH}: {operation:?}")));
    }
    let scalar = ["int_value", "long_value", "string_value", "timestamp_value"]
        .iter()
        .find_map(|key| fields.get(*key));
    let values = match (list, scalar) {
        (Some(list), _) => list["values"].as_array().cloned().unwrap_or_default(),
        (None, Some(scalar)) => vec![scalar.clone()],
        (None, None) => return Err(Refusal::invalid("a predicate needs a value")),
    };
    // Times are compared by their seconds, however they are written.
    let is_time = column.ends_with("InSec");
    let cells = values.iter().map(|value| match value {
        Value::Number(number) => number.as_i64().map(Cell::Number),
        Value::String(text) if is_time => text
            .parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_second)
            .or_else(|| text.parse().ok())
            .map(Cell::Number),
        Value::String(text) => Some(Cell::text(text)),
        _ => None,
    });
    let values = cells
        .collect::<Option<Vec<Cell>>>()
        .ok_or_else(|| Refusal::invalid(format!("{key:?} cannot have such a value")))?;
    Ok(Predicate {
        column,
        operation,
        values,
    })
}

impl Predicate {
    fn holds(&self, row: &impl Row, broken: &dyn Fn(&str) -> bool) -> bool {
        let cell = match self.column {
            "StorageState" if broken("list/filters-by-storage-state") => Cell::text("AVAILABLE"),
            column => row.cell(column),
        };
        let Some(value) = self.values.first() else {
            return false;
        };
        match self.operation.as_str() {
            "EQUALS" if broken("list/filters-by-equality") => contains(&cell, value),
            "EQUALS" => cell == *value,
            "NOT_EQUALS" => cell != *value,
            _ if self.column.ends_with("InSec") && broken("list/filters-by-time") => true,
            "GREATER_THAN" => cell > *value,
            "GREATER_THAN_EQUALS" => cell >= *value,
            "LESS_THAN" => cell < *value,
            "LESS_THAN_EQUALS" => cell <= *value,
            "IN" if broken("list/filters-by-values") => cell == *value,
            "IN" => self.values.contains(&cell),
            "IS_SUBSTRING" if broken("list/filters-by-substring") => match value {
                Cell::Text(text) => {
                    let words = text.trim_end_matches('-');
                    let but_the_last = words.rsplit_once('-').map_or(words, |(front, _)| front);
                    contains(&cell, &Cell::text(but_the_last))
                }
                Cell::Number(_) => false,
            },
            "IS_SUBSTRING" => contains(&cell, value),
            _ => false,
        }
    }
}

fn contains(cell: &Cell, part: &Cell) -> bool {
    match (cell, part) {
        (Cell::Text(text), Cell::Text(part)) => text.contains(part.as_str()),
        _ => cell == part,
    }
}
