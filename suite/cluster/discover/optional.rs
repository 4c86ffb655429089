//! The components that a distribution may leave out: Trainer, the Spark Operator and the Hub.

use serde_json::Value;

use super::{Component, Config, Facts, Outcome, Session, WEBHOOKS, controller, webhook_namespace};

impl Facts {
    /// The optional components that are there. `served` tells whether a group is served in a version, and
    /// `services` is the list of Services.
    pub(super) async fn optional(
        &mut self,
        session: &Session,
        config: &Config,
        webhooks: &Value,
        served: impl Fn(&str, &str) -> bool,
        services: &Value,
    ) -> Outcome {
        if served("trainer.kubeflow.org", "v1alpha1") {
            let namespace = webhook_namespace(webhooks, WEBHOOKS[2]);
            let names = &[
                "kubeflow-trainer-controller-manager",
                "trainer-controller-manager",
            ];
            let found = controller(session, config, "trainer", namespace, names).await?;
            self.found("trainer", "trainer.kubeflow.org/v1alpha1 is served", found);
        }
        if served("sparkoperator.k8s.io", "v1beta2") {
            let namespace = webhook_namespace(webhooks, WEBHOOKS[3]);
            let names = &["spark-operator-controller", "spark-operator"];
            let found = controller(session, config, "spark", namespace, names).await?;
            self.found("spark", "sparkoperator.k8s.io/v1beta2 is served", found);
        }
        self.hub(session, config, services).await
    }

    fn found(&mut self, name: &str, by: &str, found: Component) {
        let how = format!("{by}; {}", found.how);
        self.components
            .insert(name.to_owned(), Component { how, ..found });
    }
}
