//! Which applications are refused. All are dry runs.

use super::{super::prelude::*, base, scheduled};

requirement_checks! {
    "spark/admission/refuses-unknown-words" => refuses_unknown_words;
    "spark/admission/needs-what-to-run" => needs_what_to_run;
    "spark/admission/refuses-less-than-one" => refuses_less_than_one;
    "spark/admission/refuses-bad-names" => refuses_bad_names;
    "spark/admission/refuses-bad-names-of-schedules" => refuses_bad_names_of_schedules;
    "spark/admission/refuses-node-selectors-twice" => refuses_node_selectors_twice;
    "spark/admission/refuses-repeated-ingresses" => refuses_repeated_ingresses;
    "spark/admission/refuses-templates-before-spark-3" => refuses_templates_before_spark_3;
}

/// The good application is accepted, and refused with each of the changes: a path, a value (null removes what is there)
/// and the words that say what is wrong then.
async fn refuses(cx: &Cx, good: &Value, changes: &[(&str, Value, &str)]) -> Outcome {
    cx.dry_run(&SPARK_APPLICATION, good).await?;
    for (path, value, what) in changes {
        let bad = with(good, path, value.clone());
        cx.refuses_only(&SPARK_APPLICATION, &bad, what).await?;
    }
    Ok(())
}

async fn refuses_unknown_words(cx: &Cx) -> Outcome {
    let good = base(cx, "dry")?;
    for (path, value) in [
        ("spec.type", "Python"),
        ("spec.mode", "client"),
        ("spec.restartPolicy.type", "Always"),
        ("spec.pythonVersion", "3"),
    ] {
        cx.dry_run(&SPARK_APPLICATION, &with(&good, path, json!(value)))
            .await?;
    }
    let changes = [
        ("spec.type", json!("Go"), "whose type is Go"),
        ("spec.mode", json!("local"), "whose mode is local"),
        (
            "spec.restartPolicy.type",
            json!("Sometimes"),
            "whose restart policy is Sometimes",
        ),
        (
            "spec.pythonVersion",
            json!("4"),
            "whose version of Python is 4",
        ),
    ];
    refuses(cx, &good, &changes).await
}

async fn needs_what_to_run(cx: &Cx) -> Outcome {
    let path = "spec.mainApplicationFile";
    let changes = [(path, Value::Null, "without a file to run")];
    refuses(cx, &base(cx, "dry")?, &changes).await
}

async fn refuses_less_than_one(cx: &Cx) -> Outcome {
    let good = with(&base(cx, "dry")?, "spec.executor.instances", json!(1));
    let good = with(&good, "spec.driver.cores", json!(1));
    let changes = [
        (
            "spec.executor.instances",
            json!(0),
            "with no executor at all",
        ),
        ("spec.driver.cores", json!(0), "whose driver has no core"),
    ];
    refuses(cx, &good, &changes).await
}

async fn refuses_bad_names(cx: &Cx) -> Outcome {
    let good = base(cx, "dry")?;
    let (digit, dot) = bad_names(&good);
    let changes = [
        ("metadata.name", digit, "whose name begins with a digit"),
        ("metadata.name", dot, "whose name has a dot"),
    ];
    refuses(cx, &good, &changes).await
}

/// Names that Kubernetes itself would take.
fn bad_names(object: &Value) -> (Value, Value) {
    let name = name_of(object);
    (json!(format!("1{name}")), json!(format!("{name}.a")))
}

async fn refuses_bad_names_of_schedules(cx: &Cx) -> Outcome {
    let good = scheduled(cx, "dry")?;
    let (digit, dot) = bad_names(&good);
    for (name, what) in [
        (digit, "whose name begins with a digit"),
        (dot, "whose name has a dot"),
    ] {
        let bad = with(&good, "metadata.name", name);
        cx.refuses(&SCHEDULED_SPARK_APPLICATION, &good, &bad, what)
            .await?;
    }
    Ok(())
}

async fn refuses_node_selectors_twice(cx: &Cx) -> Outcome {
    let selector = json!({"disktype": "ssd"});
    let base = base(cx, "dry")?;
    cx.dry_run(
        &SPARK_APPLICATION,
        &with(&base, "spec.driver.nodeSelector", selector.clone()),
    )
    .await?;
    let good = with(&base, "spec.nodeSelector", selector.clone());
    let changes = [
        (
            "spec.driver.nodeSelector",
            selector.clone(),
            "with a node selector of its own and of its driver",
        ),
        (
            "spec.executor.nodeSelector",
            selector,
            "with a node selector of its own and of its executors",
        ),
    ];
    refuses(cx, &good, &changes).await
}

async fn refuses_repeated_ingresses(cx: &Cx) -> Outcome {
    let ingress = |port: u16, url: &str| json!({"servicePort": port, "servicePortName": format!("p{port}"), "ingressURLFormat": url});
    let good = with(
        &base(cx, "dry")?,
        "spec.driverIngressOptions",
        json!([ingress(80, "a.example.com"), ingress(81, "b.example.com")]),
    );
    let changes = [
        (
            "spec.driverIngressOptions",
            json!([ingress(80, "a.example.com"), ingress(80, "b.example.com")]),
            "with two ingresses of its driver for one port",
        ),
        (
            "spec.driverIngressOptions",
            json!([ingress(80, "a.example.com"), ingress(81, "a.example.com")]),
            "with two ingresses of its driver for one URL",
        ),
        (
            "spec.driverIngressOptions",
            json!([ingress(80, "a.example.com"), ingress(81, "")]),
            "with an ingress of its driver without URL",
        ),
    ];
    refuses(cx, &good, &changes).await
}

async fn refuses_templates_before_spark_3(cx: &Cx) -> Outcome {
    let template = json!({"metadata": {"labels": {"conformance": "yes"}}});
    let base = base(cx, "dry")?;
    let old = with(&base, "spec.sparkVersion", json!("2.4.8"));
    cx.dry_run(&SPARK_APPLICATION, &old).await?;
    for part in ["driver", "executor"] {
        let path = format!("spec.{part}.template");
        let good = with(&base, &path, template.clone());
        let bad = with(&old, &path, template.clone());
        let what = "with a pod template for Spark 2.4";
        cx.refuses(&SPARK_APPLICATION, &good, &bad, what).await?;
    }
    Ok(())
}
