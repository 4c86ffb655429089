//! The messages of the gRPC interfaces that checks speak, generated from `specs/proto/`.
//!
//! They are written as JSON in evidence, with the names of the interface's own description; bytes stand in base64.

/// Katib's database manager, its algorithms and early stopping: `api.v1.beta1`.
#[rustfmt::skip]
#[allow(missing_docs, clippy::all, clippy::pedantic)]
#[path = "api.v1.beta1.rs"]
pub mod katib;

/// The Open Inference protocol, version 2: `inference`.
#[rustfmt::skip]
#[allow(missing_docs, clippy::all, clippy::pedantic)]
#[path = "inference.rs"]
pub mod inference;

/// Whether a server serves: `grpc.health.v1`.
#[rustfmt::skip]
#[allow(missing_docs, clippy::all, clippy::pedantic)]
#[path = "grpc.health.v1.rs"]
pub mod health;

/// Lists of bytes, in base64.
pub(crate) mod base64 {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes each as a text.
    pub fn serialize<S: Serializer>(list: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().map(|bytes| STANDARD.encode(bytes)))
    }

    /// Reads what was written so.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let bytes = texts.iter().map(|text| STANDARD.decode(text));
        bytes.collect::<Result<_, _>>().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::inference::{InferParameter, ModelInferRequest, infer_parameter::ParameterChoice};

    #[test]
    fn what_is_generated_is_what_the_interfaces_say() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = ["katib.proto", "open_inference_grpc.proto", "health.proto"];
        let mut described = protox::compile(files, [root.join("specs/proto")]).unwrap();
        // The interfaces' comments stand in their own files, and are no Rust documentation.
        for file in &mut described.file {
            file.source_code_info = None;
        }
        let out = tempfile::tempdir().unwrap();
        let bytes = "#[serde(with = \"crate::proto::base64\")]";
        tonic_prost_build::configure()
            .build_client(false)
            .out_dir(out.path())
            .btree_map(".")
            .message_attribute(".", "#[derive(serde::Serialize, serde::Deserialize)]")
            .message_attribute(".", "#[serde(default)]")
            .type_attribute(
                "inference.InferParameter.parameter_choice",
                "#[derive(serde::Serialize, serde::Deserialize)] #[serde(rename_all = \"snake_case\")]",
            )
            .field_attribute("inference.ModelInferRequest.raw_input_contents", bytes)
            .field_attribute("inference.ModelInferResponse.raw_output_contents", bytes)
            .field_attribute("inference.InferTensorContents.bytes_contents", bytes)
            .compile_fds(described)
            .unwrap();
        for name in ["api.v1.beta1.rs", "inference.rs", "grpc.health.v1.rs"] {
            let generated = fs::read_to_string(out.path().join(name)).unwrap();
            let committed = root.join("suite/proto").join(name);
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&committed, &generated).unwrap();
            }
            assert!(
                fs::read_to_string(&committed).unwrap() == generated,
                "suite/proto/{name} is not what specs/proto says: UPDATE=1 cargo test --lib proto"
            );
        }
    }

    #[test]
    fn a_message_comes_back_from_its_json() {
        let choice = ParameterChoice::Int64Param(3);
        let request = ModelInferRequest {
            model_name: "m".to_owned(),
            parameters: [(
                "p".to_owned(),
                InferParameter {
                    parameter_choice: Some(choice),
                },
            )]
            .into(),
            raw_input_contents: vec![vec![0, 255]],
            ..ModelInferRequest::default()
        };
        let json = serde_json::to_value(&request).unwrap();
        assert_eq!(json["raw_input_contents"][0], "AP8=");
        assert_eq!(
            json["parameters"]["p"]["parameter_choice"]["int64_param"],
            3
        );
        assert_eq!(
            serde_json::from_value::<ModelInferRequest>(json).unwrap(),
            request
        );
    }
}
