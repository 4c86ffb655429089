//! kubeflow-conformance.
