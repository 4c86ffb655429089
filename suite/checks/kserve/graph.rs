//! The life of an inference graph: what its router does with a request. One graph shows it all: at its root a switch
//! leads by the request's own word to a node of each kind.

use super::{
    super::prelude::*,
    mode, owns_workload, predictor,
    reach::{at_service, numbers, parts, ready_with_images, until_with_images},
    ready, text,
};

requirement_checks! {
    "kserve/graph/becomes-ready" => becomes_ready, needs [&GRAPH];
    "kserve/graph/owns-its-router" => owns_its_router, needs [&GRAPH];
    "kserve/graph/runs-a-sequence" => runs_a_sequence, needs [&GRAPH];
    "kserve/graph/ends-a-sequence-by-its-condition" => ends_a_sequence_by_its_condition, needs [&GRAPH];
    "kserve/graph/switches-by-condition" => switches_by_condition, needs [&GRAPH];
    "kserve/graph/merges-an-ensemble" => merges_an_ensemble, needs [&GRAPH];
    "kserve/graph/splits-by-weight" => splits_by_weight, needs [&GRAPH];
    "kserve/graph/stops-at-a-hard-dependency" => stops_at_a_hard_dependency, needs [&GRAPH];
    "kserve/graph/goes-on-after-a-soft-dependency" => goes_on_after_a_soft_dependency, needs [&GRAPH];
}

setups! {
    /// Two ready InferenceServices, whose tags are `first` and `second`; its value is their names.
    STEPS = "setup/kserve/steps", judge "", minutes 8, needs [&IMAGE], run: make_steps;
    /// A ready InferenceGraph over both; its value is the object.
    GRAPH = "setup/kserve/graph", judge "kserve/graph/becomes-ready", minutes 8, needs [&STEPS], run: make_graph;
}

async fn make_steps(cx: &Cx) -> Outcome<Value> {
    let one = |tag: &'static str| async move {
        let mut object = predictor(cx, tag)?;
        let name = object["metadata"]["name"].clone();
        // A graph asks for the model of its service's name.
        object["spec"]["predictor"]["containers"][0]["env"] =
            json!([{"name": "MODEL", "value": name}, {"name": "TAG", "value": tag}]);
        ready(cx, &object).await
    };
    let first = one("first").await?;
    let second = one("second").await?;
    Ok(json!([first, second]))
}

async fn make_graph(cx: &Cx) -> Outcome<Value> {
    let steps: Vec<String> = cx.setup(&STEPS)?;
    let [first, second] = steps.as_slice() else {
        return Err(Stop::CouldNotRun(
            CouldNotRun::Defect,
            "`setup/kserve/steps` made no two services".to_owned(),
        ));
    };
    let name = cx.name("graph");
    let marks = [
        ("name", name.as_str()),
        ("mode", mode(cx)?),
        ("first", first.as_str()),
        ("second", second.as_str()),
    ];
    let object = cx.fixture("kserve/graph-of-all.yaml", &marks)?;
    cx.create(&INFERENCE_GRAPH, &object).await?;
    let selector = format!("app=isvc.{name}");
    let graph = ready_with_images(cx, &INFERENCE_GRAPH, &name, &selector).await?;
    // Releases up to 0.16 call a graph ready as soon as its router is deployed; what is asked below needs one that runs.
    until_with_images(
        cx,
        &DEPLOYMENT,
        &name,
        &selector,
        "come to run the router of a graph",
        |deployment| condition(deployment, "Available") == "True",
    )
    .await?;
    Ok(graph)
}

/// The router's server.
async fn router(cx: &Cx) -> Outcome<Http<'_>> {
    let graph: Value = cx.setup(&GRAPH)?;
    // Its URL is for outside; inside it is reached by its Service.
    at_service(cx, text(&graph["metadata"]["name"]), 80).await
}

/// What a graph's node makes of a row whose sum is 10.
async fn by(cx: &Cx, node: &str) -> Outcome<Answer> {
    let body = json!({"node": {node: true}, "instances": [[1, 2, 3, 4]]});
    router(cx).await?.post("/", &body).await
}

/// The hops in a body of the suite's server.
fn hops_in(body: &Value) -> Vec<&str> {
    let hops = body["kfconform"]["hops"].as_array();
    hops.into_iter().flatten().map(text).collect()
}

fn is_success(answer: &Answer, node: &str) -> Outcome {
    ensure!(
        answer.is_success(),
        "a request for node {node} was answered with {}",
        answer.summary()
    );
    Ok(())
}

async fn becomes_ready(cx: &Cx) -> Outcome {
    let graph: Value = cx.setup(&GRAPH)?;
    let url = &graph["status"]["url"];
    ensure!(
        parts(text(url)).is_some(),
        "status.url of the ready InferenceGraph is {url}, which is no URL"
    );
    Ok(())
}

async fn owns_its_router(cx: &Cx) -> Outcome {
    let graph: Value = cx.setup(&GRAPH)?;
    owns_workload(cx, &graph, text(&graph["metadata"]["name"])).await
}

async fn runs_a_sequence(cx: &Cx) -> Outcome {
    let answer = by(cx, "sequence").await?;
    is_success(&answer, "sequence")?;
    ensure_eq!(
        hops_in(answer.json()),
        ["first", "second"],
        "the steps of a sequence whose second takes the answer of the first"
    );
    ensure_eq!(
        numbers(&answer.json()["predictions"]),
        [10.0],
        "the predictions of a sequence"
    );
    Ok(())
}

async fn ends_a_sequence_by_its_condition(cx: &Cx) -> Outcome {
    let answer = by(cx, "ending").await?;
    is_success(&answer, "ending")?;
    ensure_eq!(
        hops_in(answer.json()),
        ["first"],
        "the steps of a sequence whose second has a condition that the answer of the first does not meet"
    );
    Ok(())
}

async fn switches_by_condition(cx: &Cx) -> Outcome {
    let answer = by(cx, "second").await?;
    is_success(&answer, "second")?;
    ensure_eq!(
        hops_in(answer.json()),
        ["second"],
        "the step that a switch leads to"
    );
    let answer = by(cx, "nowhere").await?;
    ensure_eq!(
        answer.status,
        404_u16,
        "the answer to a request that meets no condition of a switch"
    );
    Ok(())
}

async fn merges_an_ensemble(cx: &Cx) -> Outcome {
    let answer = by(cx, "ensemble").await?;
    is_success(&answer, "ensemble")?;
    for (step, tag) in [("one", "first"), ("two", "second")] {
        ensure_eq!(
            hops_in(&answer.json()[step]),
            [tag],
            "the answer of step {step} in an ensemble's answer"
        );
    }
    Ok(())
}

/// How many requests are sent to a splitter. Releases up to 0.18 break the connection of one in a hundred.
const SPLIT: usize = 24;

async fn splits_by_weight(cx: &Cx) -> Outcome {
    let router = router(cx).await?;
    let ask = |node: &'static str| {
        let router = router.clone();
        async move {
            let body = json!({"node": {node: true}, "instances": [[1, 2, 3, 4]]});
            let request = router.request("POST", "/").json(body);
            match cx.session.send(request).await {
                Ok(answer) if answer.is_success() => {
                    hops_in(answer.json()).first().map(|tag| (*tag).to_owned())
                }
                _ => None,
            }
        }
    };
    let mut all = Vec::new();
    for _ in 0..SPLIT {
        all.extend(ask("whole").await);
    }
    ensure!(
        all.len() + 2 >= SPLIT,
        "{} of {SPLIT} requests to a splitter were answered",
        all.len()
    );
    ensure!(
        all.iter().all(|tag| tag == "second"),
        "of weights 0 and 100, requests went to {}",
        all.join(", ")
    );
    let mut both = Vec::new();
    for _ in 0..SPLIT {
        both.extend(ask("halves").await);
    }
    for tag in ["first", "second"] {
        ensure!(
            both.iter().any(|seen| seen == tag),
            "of {} requests to a splitter of equal weights none went to {tag}",
            both.len()
        );
    }
    Ok(())
}

async fn stops_at_a_hard_dependency(cx: &Cx) -> Outcome {
    let answer = by(cx, "hard").await?;
    ensure_eq!(
        answer.status,
        404_u16,
        "the status of a sequence whose first step, on which all depends, is answered with 404"
    );
    Ok(())
}

async fn goes_on_after_a_soft_dependency(cx: &Cx) -> Outcome {
    let answer = by(cx, "soft").await?;
    is_success(&answer, "soft")?;
    ensure_eq!(
        hops_in(answer.json()),
        ["second"],
        "the steps that answered of a sequence whose first failed, and on which nothing depends"
    );
    Ok(())
}
