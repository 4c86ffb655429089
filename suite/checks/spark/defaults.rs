//! What admission fills in. All are dry runs.

use super::{super::prelude::*, base};

requirement_checks! {
    "spark/defaults/fills-an-application" => fills_an_application;
    "spark/defaults/leaves-what-the-configuration-says" => leaves_what_the_configuration_says;
    "spark/defaults/fills-retry-intervals" => fills_retry_intervals;
    "spark/defaults/leaves-instances-to-dynamic-allocation" => leaves_instances_to_dynamic_allocation;
}

/// What admission made of an application with something more in its spec.
async fn stored(cx: &Cx, path: &str, value: Value) -> Outcome<Value> {
    let application = with(&base(cx, "dry")?, path, value);
    let stored = cx.dry_run(&SPARK_APPLICATION, &application).await?;
    Ok(stored["spec"].clone())
}

async fn fills_an_application(cx: &Cx) -> Outcome {
    let spec = stored(cx, "spec.type", Value::Null).await?;
    ensure_eq!(spec["type"], "Scala", "spec.type");
    ensure_eq!(spec["mode"], "cluster", "spec.mode");
    ensure_eq!(
        spec["restartPolicy"]["type"],
        "Never",
        "spec.restartPolicy.type"
    );
    for part in ["driver", "executor"] {
        ensure_eq!(spec[part]["cores"], 1, "spec.{part}.cores");
        ensure_eq!(spec[part]["memory"], "1g", "spec.{part}.memory");
    }
    ensure_eq!(spec["executor"]["instances"], 1, "spec.executor.instances");
    Ok(())
}

async fn leaves_what_the_configuration_says(cx: &Cx) -> Outcome {
    let configuration = json!({
        "spark.driver.cores": "2", "spark.driver.memory": "512m",
        "spark.executor.cores": "2", "spark.executor.memory": "512m",
        "spark.executor.instances": "3",
    });
    let spec = stored(cx, "spec.sparkConf", configuration).await?;
    for (part, key) in [
        ("driver", "cores"),
        ("driver", "memory"),
        ("executor", "cores"),
        ("executor", "memory"),
        ("executor", "instances"),
    ] {
        ensure_eq!(
            spec[part][key],
            Value::Null,
            "spec.{part}.{key}, which spec.sparkConf gives,"
        );
    }
    Ok(())
}

async fn fills_retry_intervals(cx: &Cx) -> Outcome {
    let spec = stored(cx, "spec.restartPolicy", json!({"type": "OnFailure"})).await?;
    let policy = &spec["restartPolicy"];
    for key in ["onFailureRetryInterval", "onSubmissionFailureRetryInterval"] {
        ensure_eq!(policy[key], 5, "spec.restartPolicy.{key}");
    }
    Ok(())
}

async fn leaves_instances_to_dynamic_allocation(cx: &Cx) -> Outcome {
    let spec = stored(cx, "spec.dynamicAllocation", json!({"enabled": true})).await?;
    ensure_eq!(
        spec["executor"]["instances"],
        Value::Null,
        "spec.executor.instances, which dynamic allocation decides,"
    );
    Ok(())
}
