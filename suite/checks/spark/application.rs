//! The states of an application.

use super::{super::prelude::*, base, state};

requirement_checks! {
    "spark/application/reports-failed-submission" => reports_failed_submission, needs [&FAILED];
    "spark/application/marks-its-submission" => marks_its_submission, needs [&FAILED];
    "spark/application/names-its-driver" => names_its_driver, needs [&FAILED];
    "spark/application/retries-submission" => retries_submission;
    "spark/application/is-submitted-again-when-changed" => is_submitted_again_when_changed;
    "spark/application/expires" => expires;
    "spark/application/waits-while-suspended" => waits_while_suspended, needs [&SUSPENDED];
    "spark/application/resumes" => resumes, needs [&SUSPENDED];
}

setups! {
    /// An application that cannot be submitted, after its only attempt.
    pub FAILED = "setup/spark/failed", judge "spark/application/reports-failed-submission", minutes 3, needs [], run: failed;
    /// An application that waits since it was made.
    pub SUSPENDED = "setup/spark/suspended", judge "spark/application/waits-while-suspended", minutes 3, needs [], run: suspended;
}

/// Creates an application and waits until it is in a state.
async fn until_state(cx: &Cx, application: &Value, wanted: &str) -> Outcome<Value> {
    let made = cx.create(&SPARK_APPLICATION, application).await?;
    comes_to(cx, name_of(&made), wanted).await
}

async fn comes_to(cx: &Cx, name: &str, wanted: &str) -> Outcome<Value> {
    let what = format!("come to the state {wanted}");
    cx.until(&SPARK_APPLICATION, name, "reconcile", &what, |seen| {
        state(seen) == wanted
    })
    .await
}

async fn failed(cx: &Cx) -> Outcome<Value> {
    until_state(cx, &base(cx, "failed")?, "FAILED").await
}

async fn suspended(cx: &Cx) -> Outcome<Value> {
    let application = with(&base(cx, "suspended")?, "spec.suspend", json!(true));
    until_state(cx, &application, "SUSPENDED").await
}

async fn reports_failed_submission(cx: &Cx) -> Outcome {
    let seen: Value = cx.setup(&FAILED)?;
    let status = &seen["status"];
    ensure_eq!(state(&seen), "FAILED", "the state");
    let said = status["applicationState"]["errorMessage"].as_str();
    ensure!(
        said.is_some_and(|said| !said.is_empty()),
        "SparkApplication `{}` failed and does not say why",
        name_of(&seen)
    );
    ensure!(
        status["terminationTime"].is_string(),
        "SparkApplication `{}` failed and has no terminationTime",
        name_of(&seen)
    );
    Ok(())
}

async fn marks_its_submission(cx: &Cx) -> Outcome {
    let seen: Value = cx.setup(&FAILED)?;
    let status = &seen["status"];
    for key in ["submissionID", "lastSubmissionAttemptTime"] {
        ensure!(
            status[key].as_str().is_some_and(|text| !text.is_empty()),
            "SparkApplication `{}` was submitted and has no {key}",
            name_of(&seen)
        );
    }
    ensure_eq!(
        status["submissionAttempts"],
        1,
        "the number of attempts to submit it"
    );
    ensure_eq!(
        status["executionAttempts"].as_u64().unwrap_or(0),
        0,
        "the number of attempts to run it"
    );
    Ok(())
}

async fn names_its_driver(cx: &Cx) -> Outcome {
    let seen: Value = cx.setup(&FAILED)?;
    let usual = format!("{}-driver", name_of(&seen));
    ensure_eq!(
        seen["status"]["driverInfo"]["podName"],
        usual.as_str(),
        "the name of the driver's pod"
    );
    let own = cx.name("own");
    let application = with(&base(cx, "named")?, "spec.driver.podName", json!(own));
    let seen = until_state(cx, &application, "FAILED").await?;
    ensure_eq!(
        seen["status"]["driverInfo"]["podName"],
        own.as_str(),
        "the name of the driver's pod, which the application gives,"
    );
    Ok(())
}

async fn retries_submission(cx: &Cx) -> Outcome {
    let policy = json!({
        "type": "OnFailure", "onSubmissionFailureRetries": 2, "onSubmissionFailureRetryInterval": 1,
    });
    let application = with(&base(cx, "retried")?, "spec.restartPolicy", policy);
    let seen = until_state(cx, &application, "FAILED").await?;
    ensure_eq!(
        seen["status"]["submissionAttempts"],
        3,
        "the number of attempts to submit an application that allows for two more"
    );
    Ok(())
}

async fn is_submitted_again_when_changed(cx: &Cx) -> Outcome {
    let seen = until_state(cx, &base(cx, "changed")?, "FAILED").await?;
    let name = name_of(&seen);
    let first = &seen["status"]["submissionID"];
    let change = json!({"spec": {"arguments": ["20"]}});
    cx.patch(&SPARK_APPLICATION, name, &change).await?;
    cx.until(
        &SPARK_APPLICATION,
        name,
        "reconcile",
        "be submitted again after it was changed",
        |seen| {
            let id = &seen["status"]["submissionID"];
            id.is_string() && id != first && state(seen) == "FAILED"
        },
    )
    .await?;
    Ok(())
}

async fn expires(cx: &Cx) -> Outcome {
    let application = with(&base(cx, "expiring")?, "spec.timeToLiveSeconds", json!(2));
    let made = cx.create(&SPARK_APPLICATION, &application).await?;
    cx.until_gone(&SPARK_APPLICATION, name_of(&made), "reconcile")
        .await
}

async fn waits_while_suspended(cx: &Cx) -> Outcome {
    let seen: Value = cx.setup(&SUSPENDED)?;
    ensure_eq!(state(&seen), "SUSPENDED", "the state");
    ensure_eq!(
        seen["status"]["submissionAttempts"].as_u64().unwrap_or(0),
        0,
        "the number of attempts to submit an application that waits"
    );
    Ok(())
}

async fn resumes(cx: &Cx) -> Outcome {
    let seen: Value = cx.setup(&SUSPENDED)?;
    let name = name_of(&seen);
    let resume = json!({"spec": {"suspend": false}});
    cx.patch(&SPARK_APPLICATION, name, &resume).await?;
    let seen = comes_to(cx, name, "FAILED").await?;
    ensure_eq!(
        seen["status"]["submissionAttempts"],
        1,
        "the number of attempts to submit an application that goes on"
    );
    Ok(())
}
