//! The Open Inference Protocol over gRPC, by way of the port of the Service that KServe made.

use super::{super::prelude::*, predictor_name, storage::SERVED, text};
use crate::{
    cluster::grpc::Method,
    proto::inference::{
        InferTensorContents, ModelInferRequest, ModelInferResponse, ModelReadyRequest,
        ModelReadyResponse, ServerLiveRequest, ServerLiveResponse,
        model_infer_request::InferInputTensor,
    },
};

requirement_checks! {
    "kserve/protocol/answers-by-grpc" => answers_by_grpc, needs [&SERVED];
}

const LIVE: Method<ServerLiveRequest, ServerLiveResponse> =
    Method::new("/inference.GRPCInferenceService/ServerLive");
const READY: Method<ModelReadyRequest, ModelReadyResponse> =
    Method::new("/inference.GRPCInferenceService/ModelReady");
const INFER: Method<ModelInferRequest, ModelInferResponse> =
    Method::new("/inference.GRPCInferenceService/ModelInfer");
/// The statuses of gRPC that are looked for.
const OK: u16 = 0;
const NOT_FOUND: u16 = 5;
const INVALID_ARGUMENT: u16 = 3;

async fn answers_by_grpc(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&SERVED)?;
    let name = text(&service["metadata"]["name"]);
    let http = cx.service(&predictor_name(name), 9000).await?;

    let live = http.call(&LIVE, &ServerLiveRequest {}).await?;
    status(&live, OK, "ServerLive")?;
    let ready = |name: &str| ModelReadyRequest {
        name: name.to_owned(),
        ..ModelReadyRequest::default()
    };
    let known = http.call(&READY, &ready(name)).await?;
    status(&known, OK, "ModelReady")?;
    ensure_eq!(known.json()["ready"], true, "whether the model is ready");
    let unknown = http.call(&READY, &ready("unknown")).await?;
    status(&unknown, NOT_FOUND, "ModelReady of an unknown model")?;

    let values: Vec<f32> = vec![1.0, 2.0, 3.0, 4.0];
    let contents = InferTensorContents {
        fp32_contents: values.clone(),
        ..InferTensorContents::default()
    };
    let typed = ModelInferRequest {
        model_name: name.to_owned(),
        id: "conformance-1".to_owned(),
        inputs: vec![InferInputTensor {
            name: "input-0".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![1, 4],
            contents: Some(contents),
            ..InferInputTensor::default()
        }],
        ..ModelInferRequest::default()
    };
    let answer = http.call(&INFER, &typed).await?;
    status(&answer, OK, "ModelInfer")?;
    ensure_eq!(
        (&answer.json()["id"], &answer.json()["model_name"]),
        (&json!("conformance-1"), &json!(name)),
        "id and model of an inference over gRPC"
    );
    ensure_eq!(
        answer.json()["outputs"][0]["contents"]["fp32_contents"][0],
        json!(4321.0),
        "the output of an inference over gRPC"
    );

    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut raw = typed.clone();
    raw.inputs[0].contents = None;
    raw.raw_input_contents = vec![bytes.clone()];
    let answer = http.call(&INFER, &raw).await?;
    status(&answer, OK, "ModelInfer of bytes")?;
    let mut mixed = typed;
    mixed.raw_input_contents = vec![bytes];
    let answer = http.call(&INFER, &mixed).await?;
    status(
        &answer,
        INVALID_ARGUMENT,
        "ModelInfer of contents and bytes at once",
    )
}

/// Fails unless a call ended with a status.
fn status(answer: &Answer, wanted: u16, what: &str) -> Outcome {
    ensure_eq!(
        answer.grpc_status(),
        Some(wanted),
        "the status of {what} over gRPC, which says {}",
        answer.json()["message"]
    );
    Ok(())
}
