//! The Open Inference Protocol over gRPC: `inference.GRPCInferenceService`.

use std::{io, sync::Arc};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, transport::Server};

use super::Stop;
use super::predict::{Inference, Model, OUTPUT, VERSION};
use crate::proto::inference::{
    InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
    ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ServerLiveRequest,
    ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest,
    ServerReadyResponse,
    grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer},
    model_infer_request::InferInputTensor,
    model_infer_response::InferOutputTensor,
    model_metadata_response::TensorMetadata,
};

/// Serves a model until the order to stop.
pub(super) async fn serve(listener: TcpListener, stop: Stop, model: Arc<Model>) -> io::Result<()> {
    let incoming = futures::stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    Server::builder()
        .add_service(GrpcInferenceServiceServer::new(Served { model }))
        .serve_with_incoming_shutdown(incoming, async move { stop.stopped().await })
        .await
        .map_err(io::Error::other)
}

struct Served {
    model: Arc<Model>,
}

impl Served {
    fn known(&self, name: &str, version: &str) -> Result<(), Status> {
        if name != self.model.name {
            return Err(Status::not_found(format!("model `{name}` is unknown")));
        }
        if version.is_empty() || version == VERSION {
            return Ok(());
        }
        Err(Status::not_found(format!(
            "model `{name}` has no version `{version}`"
        )))
    }
}

/// The numbers of an input: its own, or those of its bytes behind the message.
fn data(input: &InferInputTensor, raw: Option<&Vec<u8>>) -> Result<Vec<f32>, Status> {
    let own = input.contents.as_ref().map(|c| c.fp32_contents.clone());
    match (own, raw) {
        (Some(_), Some(_)) => Err(Status::invalid_argument(
            "contents and raw_input_contents cannot be mixed",
        )),
        (Some(own), None) => Ok(own),
        (None, Some(raw)) => {
            let (numbers, rest) = raw.as_chunks::<4>();
            if rest.is_empty() {
                Ok(numbers.iter().map(|n| f32::from_le_bytes(*n)).collect())
            } else {
                Err(Status::invalid_argument(
                    "the bytes of an input are cut off",
                ))
            }
        }
        (None, None) => Err(Status::invalid_argument("an input has no data")),
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Served {
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: true }))
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let asked = request.into_inner();
        self.known(&asked.name, &asked.version)?;
        Ok(Response::new(ModelReadyResponse { ready: true }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse {
            name: "kfconform".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: Vec::new(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let asked = request.into_inner();
        self.known(&asked.name, &asked.version)?;
        let metadata = self.model.metadata();
        let tensors = |list: &Value| {
            let tensors = list.as_array().into_iter().flatten();
            tensors
                .map(|tensor| TensorMetadata {
                    name: tensor["name"].as_str().unwrap_or_default().to_owned(),
                    datatype: tensor["datatype"].as_str().unwrap_or_default().to_owned(),
                    shape: tensor["shape"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_i64)
                        .collect(),
                })
                .collect()
        };
        Ok(Response::new(ModelMetadataResponse {
            name: self.model.name.clone(),
            versions: vec![VERSION.to_owned()],
            platform: "kfconform".to_owned(),
            inputs: tensors(&metadata["inputs"]),
            outputs: tensors(&metadata["outputs"]),
            ..ModelMetadataResponse::default()
        }))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let asked = request.into_inner();
        self.known(&asked.model_name, &asked.model_version)?;
        let raw = &asked.raw_input_contents;
        if !raw.is_empty() && raw.len() != asked.inputs.len() {
            return Err(Status::invalid_argument(
                "raw_input_contents must have an element for each input",
            ));
        }
        let mut inputs = Vec::new();
        for (index, input) in asked.inputs.iter().enumerate() {
            let data = data(input, raw.get(index))?;
            inputs.push(json!({
                "name": input.name, "shape": input.shape, "datatype": input.datatype, "data": data,
            }));
        }
        // One way to read what is asked serves both ways to ask.
        let text = json!({"inputs": inputs}).to_string();
        let invalid = |why: &dyn std::fmt::Display| Status::invalid_argument(why.to_string());
        let inference = Inference::parse(text.as_bytes(), None).map_err(|why| invalid(&why))?;
        let outcome = self.model.infer(&inference).map_err(|why| invalid(&why))?;
        let sums = outcome.sums.unwrap_or_default();
        let (contents, raw_output_contents) = if raw.is_empty() {
            let contents = InferTensorContents {
                fp32_contents: sums.clone(),
                ..InferTensorContents::default()
            };
            (Some(contents), Vec::new())
        } else {
            let bytes = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
            (None, vec![bytes])
        };
        Ok(Response::new(ModelInferResponse {
            model_name: self.model.name.clone(),
            model_version: VERSION.to_owned(),
            id: asked.id,
            outputs: vec![InferOutputTensor {
                name: OUTPUT.to_owned(),
                datatype: "FP32".to_owned(),
                shape: vec![i64::try_from(sums.len()).unwrap_or_default()],
                contents,
                ..InferOutputTensor::default()
            }],
            raw_output_contents,
            ..ModelInferResponse::default()
        }))
    }
}
