//! The model that is served and the two protocols' ways to ask it, apart from HTTP.
//!
//! The model is a weighted sum of each row of one FP32 tensor `[-1, 4]`; without a model file every weight is 1.
//! A gRPC server would fill [`Inference`] from its own messages and answer with [`Outcome`].

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::Context;

/// Where a storage initializer puts the model's files.
pub const MODEL_FILE: &str = "/mnt/models/model.json";
/// The name of the tensor that the model takes, as its metadata gives it; a request may use any other.
pub const INPUT: &str = "input-0";
/// The name of the tensor that the model gives.
pub const OUTPUT: &str = "output-0";
/// The only version of the model.
pub const VERSION: &str = "1";

/// The datatypes of the Open Inference Protocol.
const DATATYPES: [&str; 13] = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16",
    "FP32", "FP64", "BYTES",
];
/// Largest model file, in bytes.
const MAX_MODEL: u64 = 1 << 20;
/// Most weights of a model.
const MAX_WIDTH: usize = 1024;
/// Deepest nesting of a tensor's data.
const MAX_RANK: usize = 8;

/// Why a request is refused: the sentence of its `error`.
#[derive(Debug, Error, PartialEq)]
pub(super) enum Invalid {
    #[error("the body is not a request: {0}")]
    Body(String),
    #[error("`{0}` must be given, and only one of `instances` and `inputs`")]
    Instances(&'static str),
    #[error("expected numbers or rows of {width} numbers, got data of shape {shape:?}")]
    Rows { width: usize, shape: Vec<usize> },
    #[error("expected 1 input, got {0}")]
    Inputs(usize),
    #[error("an input has no name")]
    Unnamed,
    #[error("input `{0}` has the unknown datatype `{1}`")]
    Datatype(String, String),
    #[error("input `{0}` has the datatype {1}, expected FP32")]
    NotFp32(String, String),
    #[error("input `{name}` has the shape {shape:?}, expected [-1, {width}]")]
    Shape {
        name: String,
        shape: Vec<i64>,
        width: usize,
    },
    #[error("input `{name}` has the shape {shape:?}, but its data has {found:?}")]
    Data {
        name: String,
        shape: Vec<i64>,
        found: Vec<usize>,
    },
    #[error("input `{0}` has both data and `binary_data_size`, or neither")]
    TwoSources(String),
    #[error("the binary data does not have the length that the request gives")]
    Binary,
    #[error("a value or a sum does not fit into FP32")]
    Range,
    #[error("unknown output `{0}`")]
    Output(String),
}

/// A tensor's numbers in row-major order, and the lengths of the arrays that they came in.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Data {
    lengths: Vec<usize>,
    values: Vec<f64>,
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut nested = Nested::default();
        Level {
            depth: 0,
            nested: &mut nested,
        }
        .deserialize(deserializer)?;
        if nested.lengths.is_empty() {
            return Err(serde::de::Error::custom("expected an array of numbers"));
        }
        Ok(Self {
            lengths: nested
                .lengths
                .into_iter()
                .map(Option::unwrap_or_default)
                .collect(),
            values: nested.values,
        })
    }
}

/// What is known while nested arrays are read.
#[derive(Default)]
struct Nested {
    /// The length of the arrays at each depth, once the first has ended.
    lengths: Vec<Option<usize>>,
    /// The depth at which numbers are, once the first was seen.
    numbers: Option<usize>,
    values: Vec<f64>,
}

/// Reads a number or an array at a depth straight into the flat list, so that a large body needs little memory.
struct Level<'a> {
    depth: usize,
    nested: &'a mut Nested,
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number or an array of numbers")
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        let depth = *self.nested.numbers.get_or_insert(self.depth);
        if depth != self.depth || self.nested.lengths.len() > depth {
            return Err(E::custom("the arrays are nested unevenly"));
        }
        self.nested.values.push(value);
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Self { depth, nested } = self;
        let uneven = || serde::de::Error::custom("the arrays are nested unevenly");
        if depth == MAX_RANK {
            return Err(serde::de::Error::custom("the arrays are nested too deeply"));
        }
        if nested.numbers.is_some_and(|numbers| numbers <= depth) {
            return Err(uneven());
        }
        if nested.lengths.len() == depth {
            nested.lengths.push(None);
        }
        let mut length = 0;
        while sequence
            .next_element_seed(Level {
                depth: depth + 1,
                nested,
            })?
            .is_some()
        {
            length += 1;
        }
        if *nested.lengths[depth].get_or_insert(length) != length {
            return Err(uneven());
        }
        Ok(())
    }
}

/// A request of the V1 protocol. `predictions` stands for `instances` when the answer of another step is passed on, as a
/// sequence of an inference graph does.
#[derive(Debug, Deserialize)]
pub(super) struct Predict {
    instances: Option<Data>,
    inputs: Option<Data>,
    predictions: Option<Data>,
    /// Where the answer that is passed on has been.
    #[serde(default)]
    pub(super) kfconform: Trace,
}

/// What our answers say about their way.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Trace {
    /// The servers that saw the request, in their order.
    #[serde(default)]
    pub(super) hops: Vec<String>,
}

impl Predict {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Invalid> {
        serde_json::from_slice(body).map_err(|error| Invalid::Body(error.to_string()))
    }

    fn data(&self) -> Result<&Data, Invalid> {
        match (&self.instances, &self.inputs, &self.predictions) {
            (Some(data), None, _) | (None, Some(data), _) | (None, None, Some(data)) => Ok(data),
            _ => Err(Invalid::Instances("instances")),
        }
    }

    /// How many rows.
    pub(super) fn rows(&self) -> Option<usize> {
        self.data()
            .ok()
            .and_then(|data| data.lengths.first().copied())
    }
}

/// A request of the Open Inference Protocol.
#[derive(Debug, Deserialize)]
pub(super) struct Inference {
    pub(super) id: Option<String>,
    #[serde(default)]
    parameters: Parameters,
    inputs: Vec<Input>,
    outputs: Option<Vec<Requested>>,
}

type Parameters = Option<Map<String, Value>>;

#[derive(Debug, Deserialize)]
struct Input {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: Parameters,
    data: Option<Data>,
}

#[derive(Debug, Deserialize)]
struct Requested {
    name: String,
    #[serde(default)]
    parameters: Parameters,
}

/// The answer of the model.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    /// The sum of each row; absent when the request asks for no output.
    pub(super) sums: Option<Vec<f32>>,
    /// Whether the sums are wanted as bytes after the JSON.
    pub(super) binary: bool,
}

impl Inference {
    /// Reads a request: JSON, and behind it the bytes of inputs that have `binary_data_size` when `json_length` is given
    /// (the header `Inference-Header-Content-Length`).
    pub(super) fn parse(body: &[u8], json_length: Option<usize>) -> Result<Self, Invalid> {
        let (text, mut bytes) = body
            .split_at_checked(json_length.unwrap_or(body.len()))
            .ok_or(Invalid::Binary)?;
        let mut request: Self =
            serde_json::from_slice(text).map_err(|error| Invalid::Body(error.to_string()))?;
        for input in &mut request.inputs {
            let size = input
                .parameters
                .as_ref()
                .and_then(|map| map.get("binary_data_size"));
            match (size, &input.data) {
                (None, Some(_)) => {}
                (Some(size), None) => {
                    let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
                    let (own, rest) = size
                        .and_then(|size| bytes.split_at_checked(size))
                        .ok_or(Invalid::Binary)?;
                    bytes = rest;
                    input.data = Some(little_endian(own)?);
                }
                _ => return Err(Invalid::TwoSources(input.name.clone())),
            }
        }
        if bytes.is_empty() {
            Ok(request)
        } else {
            Err(Invalid::Binary)
        }
    }

    /// How many rows.
    pub(super) fn rows(&self) -> Option<usize> {
        self.inputs
            .first()
            .and_then(|input| usize::try_from(*input.shape.first()?).ok())
    }
}

/// The numbers of an FP32 tensor's bytes.
fn little_endian(bytes: &[u8]) -> Result<Data, Invalid> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(Invalid::Binary);
    }
    let values = numbers
        .iter()
        .map(|number| f64::from(f32::from_le_bytes(*number)));
    Ok(Data {
        lengths: vec![numbers.len()],
        values: values.collect(),
    })
}

/// What is served.
#[derive(Debug, PartialEq)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) weights: Vec<f64>,
    /// The file that the weights come from.
    pub(super) source: Option<&'static str>,
}

/// The content of a model file.
#[derive(Deserialize, Serialize)]
pub(super) struct ModelFile {
    pub(super) weights: Vec<f64>,
}

impl Model {
    /// Reads the model file, if there is one.
    ///
    /// # Errors
    /// When the file cannot be read or is no model.
    pub(super) fn load(name: String, cx: &Context) -> io::Result<Self> {
        let file = match File::open(cx.path(MODEL_FILE)) {
            Ok(file) => file,
            // Where no volume is mounted, what should be the folder may be something else.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Self {
                    name,
                    weights: vec![1.0; 4],
                    source: None,
                });
            }
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        file.take(MAX_MODEL).read_to_string(&mut text)?;
        let ModelFile { weights } = serde_json::from_str(&text)?;
        if weights.is_empty() || weights.len() > MAX_WIDTH {
            return Err(io::Error::other(format!(
                "expected 1 to {MAX_WIDTH} weights"
            )));
        }
        Ok(Self {
            name,
            weights,
            source: Some(MODEL_FILE),
        })
    }

    /// Each value times its weight, row by row. A single number is a row that a model before this one has summed up.
    fn products(&self, data: &Data) -> Result<Vec<Vec<f64>>, Invalid> {
        let width = self.weights.len();
        match data.lengths.as_slice() {
            [_] => Ok(data.values.iter().map(|value| vec![*value]).collect()),
            [_, found] if *found == width => Ok(self.weighted(&data.values)),
            _ => Err(Invalid::Rows {
                width,
                shape: data.lengths.clone(),
            }),
        }
    }

    fn weighted(&self, values: &[f64]) -> Vec<Vec<f64>> {
        let rows = values.chunks_exact(self.weights.len());
        rows.map(|row| {
            row.iter()
                .zip(&self.weights)
                .map(|(value, weight)| value * weight)
                .collect()
        })
        .collect()
    }

    /// The V1 protocol's predictions: the sum of each row.
    pub(super) fn predict(&self, request: &Predict) -> Result<Vec<f64>, Invalid> {
        let rows = self.explain(request)?;
        finite(rows.into_iter().map(|row| row.into_iter().sum()).collect())
    }

    /// The V1 protocol's explanations: what each value adds to the sum of its row.
    pub(super) fn explain(&self, request: &Predict) -> Result<Vec<Vec<f64>>, Invalid> {
        self.products(request.data()?)
    }

    /// The Open Inference Protocol's answer.
    pub(super) fn infer(&self, request: &Inference) -> Result<Outcome, Invalid> {
        let [input] = request.inputs.as_slice() else {
            return Err(Invalid::Inputs(request.inputs.len()));
        };
        let values = self.checked(input)?;
        let wants_bytes = |parameters: &Parameters, key| {
            parameters
                .as_ref()
                .is_some_and(|map| map.get(key) == Some(&json!(true)))
        };
        let mut binary = wants_bytes(&request.parameters, "binary_data_output");
        let mut wanted = true;
        if let Some(outputs) = &request.outputs {
            if let Some(unknown) = outputs.iter().find(|output| output.name != OUTPUT) {
                return Err(Invalid::Output(unknown.name.clone()));
            }
            wanted = !outputs.is_empty();
            binary |= outputs
                .iter()
                .any(|output| wants_bytes(&output.parameters, "binary_data"));
        }
        let sums = self
            .weighted(&values)
            .into_iter()
            .map(|row| row.into_iter().sum::<f64>());
        let sums: Vec<f32> = finite(sums.collect())?
            .into_iter()
            .map(|sum| sum as f32)
            .collect();
        Ok(Outcome {
            sums: wanted.then_some(sums),
            binary,
        })
    }

    /// The values of an input that is what the model takes.
    fn checked(&self, input: &Input) -> Result<Vec<f64>, Invalid> {
        let name = || input.name.clone();
        if input.name.is_empty() {
            return Err(Invalid::Unnamed);
        }
        if !DATATYPES.contains(&input.datatype.as_str()) {
            return Err(Invalid::Datatype(name(), input.datatype.clone()));
        }
        if input.datatype != "FP32" {
            return Err(Invalid::NotFp32(name(), input.datatype.clone()));
        }
        let shape: Vec<usize> = input
            .shape
            .iter()
            .filter_map(|length| usize::try_from(*length).ok())
            .collect();
        let width = self.weights.len();
        if input.shape.len() != 2 || shape.len() != 2 || shape[1] != width {
            return Err(Invalid::Shape {
                name: name(),
                shape: input.shape.clone(),
                width,
            });
        }
        let Some(data) = &input.data else {
            return Err(Invalid::TwoSources(name()));
        };
        let fits = match data.lengths.as_slice() {
            [length] => shape[0].checked_mul(width) == Some(*length),
            lengths => lengths == shape,
        };
        if !fits {
            return Err(Invalid::Data {
                name: name(),
                shape: input.shape.clone(),
                found: data.lengths.clone(),
            });
        }
        // The tensor is FP32 whatever the digits in JSON: the sums must be those of the same tensor sent as bytes.
        let rounded = data.values.iter().map(|value| f64::from(*value as f32));
        finite(rounded.collect())
    }

    /// The metadata of the Open Inference Protocol.
    pub(super) fn metadata(&self) -> Value {
        json!({
            "name": self.name,
            "versions": [VERSION],
            "platform": "kfconform",
            "inputs": [{ "name": INPUT, "datatype": "FP32", "shape": [-1, self.weights.len()] }],
            "outputs": [{ "name": OUTPUT, "datatype": "FP32", "shape": [-1] }],
        })
    }
}

/// JSON has no infinity, and FP32 ends before f64.
fn finite(sums: Vec<f64>) -> Result<Vec<f64>, Invalid> {
    if sums.iter().all(|sum| (*sum as f32).is_finite()) {
        Ok(sums)
    } else {
        Err(Invalid::Range)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn model() -> Model {
        Model {
            name: "m".into(),
            weights: vec![1.0; 4],
            source: None,
        }
    }

    fn infer(text: &str) -> Result<Outcome, Invalid> {
        model().infer(&Inference::parse(text.as_bytes(), None)?)
    }

    fn input(shape: &str, datatype: &str, data: &str) -> String {
        format!(
            r#"{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{datatype}","data":{data}}}]}}"#
        )
    }

    #[test]
    fn flat_and_nested_data_give_the_same_sums() {
        for data in ["[1,2,3,4,5,6,7,8.5]", "[[1,2,3,4],[5,6,7,8.5]]"] {
            let outcome = infer(&input("[2,4]", "FP32", data)).unwrap();
            assert_eq!(outcome.sums, Some(vec![10.0, 26.5]));
        }
        assert_eq!(
            infer(&input("[0,4]", "FP32", "[]")).unwrap().sums,
            Some(vec![])
        );
    }

    #[test]
    fn says_what_is_wrong_with_an_input() {
        for (shape, datatype, data, expected) in [
            ("[1,4]", "FP99", "[1,2,3,4]", "unknown datatype"),
            ("[1,4]", "INT64", "[1,2,3,4]", "expected FP32"),
            ("[1,4]", "FP32", "[1,2,3]", "but its data has [3]"),
            ("[1,4]", "FP32", "[[1,2],[3,4]]", "but its data has [2, 2]"),
            (
                "[1,4]",
                "FP32",
                "[[[1,2,3,4]]]",
                "but its data has [1, 1, 4]",
            ),
            ("[1,3]", "FP32", "[1,2,3]", "expected [-1, 4]"),
            ("[-1,4]", "FP32", "[1,2,3,4]", "expected [-1, 4]"),
            ("[4]", "FP32", "[1,2,3,4]", "expected [-1, 4]"),
            (
                "[4611686018427387904,4]",
                "FP32",
                "[]",
                "but its data has [0]",
            ),
            ("[2,4]", "FP32", "[[1,2,3,4],[5]]", "unevenly"),
            ("[2,4]", "FP32", "[[1,2,3,4],5]", "unevenly"),
            ("[2,4]", "FP32", "[5,[1,2,3,4]]", "unevenly"),
            ("[2,4]", "FP32", "[[],5]", "unevenly"),
            ("[1,4]", "FP32", "[1,2,3,\"4\"]", "expected a number"),
            ("[1,4]", "FP32", "4", "expected an array"),
            ("[1,4]", "FP32", "[1,2,3,1e39]", "does not fit"),
            ("[1,4]", "FP32", "[3e38,3e38,0,0]", "does not fit"),
            ("[1.5,4]", "FP32", "[1]", "not a request"),
            ("[1,4]", "FP32", "[[[[[[[[[1]]]]]]]]]", "too deeply"),
        ] {
            let error = infer(&input(shape, datatype, data))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(expected),
                "{shape} {datatype} {data}: {error}"
            );
        }
        for text in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"inputs":[]}"#,
            r#"{"inputs":[{"name":"","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}"#,
            r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32"}]}"#,
            r#"{"id":3,"inputs":[]}"#,
        ] {
            assert!(infer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn gives_only_the_outputs_that_are_asked_for() {
        let ask = |outputs: &str| {
            infer(&format!(
                r#"{{"outputs":{outputs},"inputs":[{{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}}]}}"#
            ))
        };
        assert_eq!(
            ask(r#"[{"name":"output-0"}]"#).unwrap().sums,
            Some(vec![10.0])
        );
        assert_eq!(ask("[]").unwrap().sums, None);
        assert_eq!(ask(r#"[{"name":"y"}]"#), Err(Invalid::Output("y".into())));
        assert!(
            ask(r#"[{"name":"output-0","parameters":{"binary_data":true}}]"#)
                .unwrap()
                .binary
        );
    }

    #[test]
    fn reads_binary_data_behind_the_json() {
        let json = r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}"#;
        let mut body = json.as_bytes().to_vec();
        body.extend(
            [1f32, 2.0, 3.0, 4.5]
                .iter()
                .flat_map(|value| value.to_le_bytes()),
        );
        let parsed = Inference::parse(&body, Some(json.len())).unwrap();
        assert_eq!(model().infer(&parsed).unwrap().sums, Some(vec![10.5]));
        for (body, length) in [
            (&body[..body.len() - 1], Some(json.len())),
            (&body, Some(json.len() - 1)),
            (&body, Some(usize::MAX)),
            (&body, None),
            (&body[..json.len()], None),
        ] {
            assert!(Inference::parse(body, length).is_err());
        }
        body.push(0);
        assert_eq!(
            Inference::parse(&body, Some(json.len())).unwrap_err(),
            Invalid::Binary
        );
    }

    #[test]
    fn v1_takes_rows_and_the_numbers_of_a_step_before() {
        let predict = |text: &str| model().predict(&Predict::parse(text.as_bytes())?);
        for text in [
            r#"{"instances":[[1,2,3,4],[0,0,0,16]]}"#,
            r#"{"inputs":[[1,2,3,4],[0,0,0,16]]}"#,
            r#"{"predictions":[10,16],"other":1}"#,
            r#"{"instances":[10,16],"signature_name":"x"}"#,
        ] {
            assert_eq!(predict(text).unwrap(), [10.0, 16.0], "{text}");
        }
        for text in [
            "{}",
            r#"{"instances":[[1,2,3]]}"#,
            r#"{"instances":3}"#,
            r#"{"instances":[[1,2,3,"4"]]}"#,
            r#"{"instances":[[1,2,3,4]],"inputs":[[1,2,3,4]]}"#,
            r#"{"instances":[[[1,2,3,4]]]}"#,
            r#"{"instances":null}"#,
            r#"{"instances":[[1e38,3e38,0,0]]}"#,
        ] {
            assert!(predict(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(body: Vec<u8>, length: Option<u16>) {
            let _ = Inference::parse(&body, length.map(usize::from)).map(|request| model().infer(&request));
            let _ = Predict::parse(&body).map(|request| model().predict(&request));
        }

        #[test]
        fn any_request_is_an_answer_or_an_error(
            shape in prop::collection::vec(any::<i64>(), 0..4),
            datatype in prop::sample::select(vec!["FP32", "FP32", "INT8", "X"]),
            data in r"[\[\],0-9eE.-]{0,40}",
            size in prop::option::of(any::<i64>()),
        ) {
            let parameters = size.map_or("null".into(), |size| format!(r#"{{"binary_data_size":{size}}}"#));
            let text = format!(
                r#"{{"inputs":[{{"name":"x","shape":{shape:?},"datatype":"{datatype}","parameters":{parameters},"data":[{data}]}}]}}"#
            );
            let _ = Inference::parse(text.as_bytes(), None).map(|request| model().infer(&request));
        }

        #[test]
        fn a_sum_is_the_sum_of_its_row(rows in prop::collection::vec(prop::array::uniform4(-1e6f32..1e6), 0..20)) {
            let text = input(&format!("[{},4]", rows.len()), "FP32", &serde_json::to_string(&rows).unwrap());
            let expected: Vec<f32> = rows
                .iter()
                .map(|row| row.iter().map(|value| f64::from(*value)).sum::<f64>() as f32)
                .collect();
            // An empty list of rows has no row length: it is flat.
            prop_assert_eq!(infer(&text).unwrap().sums, Some(expected));
        }
    }
}
