//! The inference protocols by way of KServe: through the Service that it makes, to the server that it starts with the
//! name, the port and the model that it is responsible for. The server is the suite's own; what is judged is that nothing
//! on the way changes what is said.

use super::{
    super::prelude::*,
    reach::{at_address, numbers},
    storage::SERVED,
    text,
};

requirement_checks! {
    "kserve/protocol/lists-models-by-v1" => lists_models_by_v1, needs [&SERVED];
    "kserve/protocol/tells-readiness-by-v1" => tells_readiness_by_v1, needs [&SERVED];
    "kserve/protocol/predicts-by-v1" => predicts_by_v1, needs [&SERVED];
    "kserve/protocol/explains-errors-by-v1" => explains_errors_by_v1, needs [&SERVED];
    "kserve/protocol/tells-health-by-v2" => tells_health_by_v2, needs [&SERVED];
    "kserve/protocol/describes-the-server-by-v2" => describes_the_server_by_v2, needs [&SERVED];
    "kserve/protocol/describes-the-model-by-v2" => describes_the_model_by_v2, needs [&SERVED];
    "kserve/protocol/tells-readiness-by-v2" => tells_readiness_by_v2, needs [&SERVED];
    "kserve/protocol/infers-by-v2" => infers_by_v2, needs [&SERVED];
    "kserve/protocol/keeps-the-order-of-data" => keeps_the_order_of_data, needs [&SERVED];
    "kserve/protocol/explains-errors-by-v2" => explains_errors_by_v2, needs [&SERVED];
    "kserve/protocol/selects-outputs" => selects_outputs, needs [&SERVED];
    "kserve/protocol/carries-binary-data" => carries_binary_data, needs [&SERVED];
}

/// A service whose model is asked.
struct Asked<'a> {
    http: Http<'a>,
    name: String,
}

impl Asked<'_> {
    fn v1(&self, verb: &str) -> String {
        format!("/v1/models/{}{verb}", self.name)
    }

    fn v2(&self, rest: &str) -> String {
        format!("/v2/models/{}{rest}", self.name)
    }
}

async fn asked(cx: &Cx) -> Outcome<Asked<'_>> {
    let service: Value = cx.setup(&SERVED)?;
    Ok(Asked {
        http: at_address(cx, &service).await?,
        name: text(&service["metadata"]["name"]).to_owned(),
    })
}

/// Two rows, and what the model on the claim makes of them.
fn rows() -> Value {
    json!([[1, 2, 3, 4], [5, 6, 7, 8]])
}
const SUMS: [f64; 2] = [4321.0, 8765.0];

/// A request of the v2 protocol for these data.
fn inference(data: &Value) -> Value {
    json!({
        "id": "conformance-1",
        "inputs": [{"name": "input-0", "shape": [2, 4], "datatype": "FP32", "data": data}],
    })
}

/// Fails unless an error of a server came back as one, in JSON.
fn is_error(answer: &Answer, statuses: std::ops::RangeInclusive<u16>, what: &str) -> Outcome {
    ensure!(
        statuses.contains(&answer.status),
        "{what} was answered with {}, and the server says {}",
        answer.summary(),
        statuses.start()
    );
    ensure!(
        answer.json()["error"].is_string(),
        "{what} was answered with {} without the server's error",
        answer.summary()
    );
    Ok(())
}

async fn lists_models_by_v1(cx: &Cx) -> Outcome {
    let asked = asked(cx).await?;
    let seen = asked.http.read("/v1/models").await?;
    ensure_eq!(
        seen["models"],
        json!([asked.name]),
        "the models of a server that was told its name by {{{{.Name}}}}"
    );
    Ok(())
}

async fn tells_readiness_by_v1(cx: &Cx) -> Outcome {
    let asked = asked(cx).await?;
    let seen = asked.http.read(&asked.v1("")).await?;
    ensure_eq!(
        (&seen["name"], &seen["ready"]),
        (&json!(asked.name), &json!(true)),
        "name and readiness of the model"
    );
    Ok(())
}

async fn predicts_by_v1(cx: &Cx) -> Outcome {
    let asked = asked(cx).await?;
    for key in ["instances", "inputs"] {
        let seen = asked
            .http
            .write(&asked.v1(":predict"), &json!({key: rows()}))
            .await?;
        ensure_eq!(
            numbers(&seen["predictions"]),
            SUMS,
            "the predictions for two rows of {key}"
        );
    }
    Ok(())
}

async fn explains_errors_by_v1(cx: &Cx) -> Outcome {
    let asked = asked(cx).await?;
    let unknown = asked
        .http
        .post("/v1/models/unknown:predict", &json!({"instances": rows()}))
        .await?;
    is_error(&unknown, 404..=404, "a prediction of an unknown model")?;
    let wrong = asked
        .http
        .post(&asked.v1(":predict"), &json!({"instances": [["word"]]}))
        .await?;
    is_error(&wrong, 400..=400, "a prediction of a word")
}

async fn tells_health_by_v2(cx: &Cx) -> Outcome {
    let asked = asked(cx).await?;
    for what in ["live", "ready"] {
        asked.http.read(&format!("/v2/health/{what}")).await?;
    }
    Ok(())
}

async fn describes_the_server_by_v2(cx: &Cx) -> Outcome {
    let asked = asked(cx).await?;
    let seen = asked.http.read("/v2").await?;
    ensure!(
        seen["name"].is_string() && seen["version"].is_string() && seen["extensions"].is_array(),
        "the server's metadata are {seen}: they have no name, version and extensions"
    );
    Ok(())
}

async fn describes_the_model_by_v2(cx: &Cx) -> Outcome {
    let asked = asked(cx).await?;
    let seen = asked.http.read(&asked.v2("")).await?;
    ensure_eq!(
        seen["name"],
        asked.name.as_str(),
        "the name in the model's metadata"
    );
    ensure!(
        seen["platform"].is_string(),
        "the model's metadata name no platform: {seen}"
    );
    for (list, shape) in [("inputs", json!([-1, 4])), ("outputs", json!([-1]))] {
        let tensor = &seen[list][0];
        ensure_eq!(
            (&tensor["datatype"], &tensor["shape"]),
            (&json!("FP32"), &shape),
            "datatype and shape of the first of {list} in the model's metadata"
        );
    }
    Ok(())
}

async fn tells_readiness_by_v2(cx: &Cx) -> Outcome {
    let asked = asked(cx).await?;
    asked.http.read(&asked.v2("/ready")).await?;
    let unknown = asked.http.get("/v2/models/unknown/ready").await?;
    is_error(&unknown, 400..=499, "the readiness of an unknown model")
}

async fn infers_by_v2(cx: &Cx) -> Outcome {
    let asked = asked(cx).await?;
    let seen = asked
        .http
        .write(&asked.v2("/infer"), &inference(&rows()))
        .await?;
    ensure_eq!(
        (&seen["id"], &seen["model_name"]),
        (&json!("conformance-1"), &json!(asked.name)),
        "id and model of an inference"
    );
    let output = &seen["outputs"][0];
    ensure_eq!(
        (&output["datatype"], &output["shape"]),
        (&json!("FP32"), &json!([2])),
        "datatype and shape of an inference of two rows"
    );
    ensure_eq!(numbers(&output["data"]), SUMS, "the data of an inference");
    Ok(())
}

async fn keeps_the_order_of_data(cx: &Cx) -> Outcome {
    let asked = asked(cx).await?;
    for data in [rows(), json!([1, 2, 3, 4, 5, 6, 7, 8])] {
        let seen = asked
            .http
            .write(&asked.v2("/infer"), &inference(&data))
            .await?;
        ensure_eq!(
            numbers(&seen["outputs"][0]["data"]),
            SUMS,
            "the data of an inference of {data}"
        );
    }
    Ok(())
}

async fn explains_errors_by_v2(cx: &Cx) -> Outcome {
    let asked = asked(cx).await?;
    let path = asked.v2("/infer");
    let short =
        json!({"inputs": [{"name": "input-0", "shape": [2, 4], "datatype": "FP32", "data": [1]}]});
    let datatype = json!({"inputs": [{"name": "input-0", "shape": [1, 4], "datatype": "FP99", "data": [1, 2, 3, 4]}]});
    for (what, body) in [
        ("an inference without inputs", json!({"id": "x"})),
        ("an inference with too few data", short),
        ("an inference of an unknown datatype", datatype),
    ] {
        let answer = asked.http.post(&path, &body).await?;
        is_error(&answer, 400..=499, what)?;
    }
    let text = asked
        .http
        .request("POST", &path)
        .content("application/json", Body::Text("{\"inputs\": [".to_owned()));
    is_error(
        &asked.http.send(text).await?,
        400..=499,
        "an inference that is no JSON",
    )?;
    asked.http.read("/v2/health/ready").await?;
    Ok(())
}

async fn selects_outputs(cx: &Cx) -> Outcome {
    let asked = asked(cx).await?;
    let mut request = inference(&rows());
    request["outputs"] = json!([{"name": "output-0"}]);
    let seen = asked.http.write(&asked.v2("/infer"), &request).await?;
    ensure_eq!(
        seen["outputs"].as_array().map_or(0, Vec::len),
        1_usize,
        "the number of outputs of an inference that asks for one"
    );
    request["outputs"] = json!([{"name": "unknown"}]);
    let answer = asked.http.post(&asked.v2("/infer"), &request).await?;
    is_error(
        &answer,
        400..=499,
        "an inference that asks for an unknown output",
    )
}

async fn carries_binary_data(cx: &Cx) -> Outcome {
    let asked = asked(cx).await?;
    let rows: Vec<u8> = [1_f32, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let mut request = inference(&Value::Null);
    request["parameters"] = json!({"binary_data_output": true});
    request["inputs"][0] = json!({
        "name": "input-0", "shape": [2, 4], "datatype": "FP32",
        "parameters": {"binary_data_size": rows.len()},
    });
    let mut body = request.to_string().into_bytes();
    let length = body.len().to_string();
    body.extend(rows);
    let request = asked
        .http
        .request("POST", &asked.v2("/infer"))
        .content("application/octet-stream", Body::of(&body))
        .header("inference-header-content-length", &length);
    let answer = asked.http.send(request).await?;
    ensure!(
        answer.is_success(),
        "an inference with binary output was answered with {}",
        answer.summary()
    );
    let length = answer
        .header("inference-header-content-length")
        .and_then(|length| length.parse::<usize>().ok());
    let Some(length) = length else {
        return Err(Stop::failed(
            "an inference with binary output was answered without the header Inference-Header-Content-Length",
        ));
    };
    let bytes = answer.body.bytes();
    let Some((text, bytes)) = bytes.split_at_checked(length) else {
        return Err(Stop::failed(format!(
            "the answer is shorter than the {length} bytes of JSON that its header tells"
        )));
    };
    let text: Value = serde_json::from_slice(text).unwrap_or_default();
    ensure_eq!(
        text["outputs"][0]["parameters"]["binary_data_size"],
        8,
        "how many bytes the output is said to have"
    );
    let wanted: Vec<u8> = [1_f32, 1000.0]
        .iter()
        .flat_map(|sum| sum.to_le_bytes())
        .collect();
    ensure_eq!(bytes, wanted, "the bytes of the output");
    Ok(())
}
