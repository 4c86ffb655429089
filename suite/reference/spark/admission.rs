//! What the webhooks of the Spark Operator 2.5 fill in and refuse, in their words.

use serde_json::{Value, json};

use super::{APPLICATIONS, SCHEDULES, array, text};
use crate::reference::kube::{Denied, Faults, Operation, World};

const WRITES: [Operation; 2] = [Operation::Create, Operation::Update];

/// A rule: the fault that switches it off, and what is said of an object that breaks it.
type Rule = (&'static str, fn(&Value) -> Option<String>);

const APPLICATION_RULES: &[Rule] = &[
    ("spark/admission/refuses-bad-names", |application| {
        bad_name("SparkApplication", application)
    }),
    (
        "spark/admission/refuses-templates-before-spark-3",
        old_template,
    ),
    (
        "spark/admission/refuses-node-selectors-twice",
        two_node_selectors,
    ),
    (
        "spark/admission/refuses-repeated-ingresses",
        repeated_ingress,
    ),
];

const SCHEDULE_RULES: &[Rule] = &[(
    "spark/admission/refuses-bad-names-of-schedules",
    |schedule| bad_name("ScheduledSparkApplication", schedule),
)];

/// Registers the webhooks.
pub(super) fn install(world: &World) {
    let faults = world.faults().clone();
    world.mutating(&APPLICATIONS, &WRITES, move |mut request| {
        let state = text(&request.object["status"]["applicationState"]["state"]);
        if matches!(state, "" | "INVALIDATING") {
            fill(&mut request.object["spec"], &faults);
        }
        async move { Ok(request.object) }
    });
    for (resource, rules, singular) in [
        (&APPLICATIONS, APPLICATION_RULES, "sparkapplication"),
        (&SCHEDULES, SCHEDULE_RULES, "scheduledsparkapplication"),
    ] {
        let faults = world.faults().clone();
        world.validating(resource, &WRITES, move |request| {
            let broken = rules
                .iter()
                .filter(|(fault, _)| !faults.has(fault))
                .find_map(|(_, rule)| rule(&request.object));
            let webhook =
                format!("validate-sparkoperator-k8s-io-v1beta2-{singular}.sparkoperator.k8s.io");
            let refused =
                broken.map(|message| Denied::by(&webhook, 403, Some("Forbidden"), &message));
            async move { refused.map_or(Ok(()), Err) }
        });
    }
}

fn set_default(object: &mut Value, key: &str, value: Value) {
    if object[key].is_null() {
        object[key] = value;
    }
}

fn fill(spec: &mut Value, faults: &Faults) {
    if !spec.is_object() {
        return;
    }
    // What the schema asks for is there in the end, whatever is sent: only the main file is not made up.
    set_default(spec, "type", json!("Scala"));
    set_default(spec, "sparkVersion", json!(""));
    set_default(spec, "driver", json!({}));
    set_default(spec, "executor", json!({}));
    if !faults.has("spark/defaults/fills-an-application") {
        set_default(spec, "mode", json!("cluster"));
    }
    let configuration = spec["sparkConf"].clone();
    let said = |key: &str| !configuration[key].is_null();
    if !spec["restartPolicy"].is_object() {
        spec["restartPolicy"] = json!({});
    }
    let policy = &mut spec["restartPolicy"];
    set_default(policy, "type", json!("Never"));
    if policy["type"] != "Never" && !faults.has("spark/defaults/fills-retry-intervals") {
        set_default(policy, "onFailureRetryInterval", json!(5));
        set_default(policy, "onSubmissionFailureRetryInterval", json!(5));
    }
    for part in ["driver", "executor"] {
        for (key, value) in [("cores", json!(1)), ("memory", json!("1g"))] {
            if spec[part].is_object() && !said(&format!("spark.{part}.{key}")) {
                set_default(&mut spec[part], key, value);
            }
        }
    }
    let dynamic = spec["dynamicAllocation"]["enabled"] == true
        && !faults.has("spark/defaults/leaves-instances-to-dynamic-allocation");
    let given = said("spark.executor.instances")
        && !faults.has("spark/defaults/leaves-what-the-configuration-says");
    if spec["executor"].is_object() && !dynamic && !given {
        set_default(&mut spec["executor"], "instances", json!(1));
    }
    if spec["dynamicAllocation"]["enabled"] == true {
        set_default(
            &mut spec["dynamicAllocation"],
            "shuffleTrackingEnabled",
            json!(true),
        );
    }
}

fn bad_name(kind: &str, object: &Value) -> Option<String> {
    let name = text(&object["metadata"]["name"]);
    let good = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    (!good).then(|| {
        format!(
            "invalid {kind} name {name:?}: a DNS-1035 label must consist of lower case alphanumeric characters or '-', \
             start with an alphabetic character, and end with an alphanumeric character"
        )
    })
}

fn old_template(application: &Value) -> Option<String> {
    let spec = &application["spec"];
    let used = ["driver", "executor"]
        .iter()
        .any(|part| !spec[*part]["template"].is_null());
    let major = text(&spec["sparkVersion"]).split('.').next();
    let major: u32 = major.and_then(|word| word.parse().ok()).unwrap_or(0);
    (used && major < 3)
        .then(|| "pod template feature requires Spark version 3.0.0 or higher".to_owned())
}

fn two_node_selectors(application: &Value) -> Option<String> {
    let spec = &application["spec"];
    let part = |part: &str| !spec[part]["nodeSelector"].is_null();
    (!spec["nodeSelector"].is_null() && (part("driver") || part("executor"))).then(|| {
        "node selector cannot be defined at both SparkApplication and Driver/Executor".to_owned()
    })
}

fn repeated_ingress(application: &Value) -> Option<String> {
    let (mut ports, mut formats) = (Vec::new(), Vec::new());
    for ingress in array(&application["spec"]["driverIngressOptions"]) {
        let port = &ingress["servicePort"];
        if port.is_null() {
            return Some("DriverIngressOptions has nill ServicePort".to_owned());
        }
        if ports.contains(&port) {
            return Some(format!(
                "DriverIngressOptions has duplicate ServicePort: {port}"
            ));
        }
        ports.push(port);
        let format = text(&ingress["ingressURLFormat"]);
        if format.is_empty() {
            return Some("DriverIngressOptions has empty IngressURLFormat".to_owned());
        }
        if formats.contains(&format) {
            return Some(format!(
                "DriverIngressOptions has duplicate IngressURLFormat: {format}"
            ));
        }
        formats.push(format);
    }
    None
}
