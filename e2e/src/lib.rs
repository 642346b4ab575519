//! The whole system on a real node: images of the programs, the manifests of `k8s/`, Pods that run. There is nothing here but tests
//! (`tests/`), which are skipped, with one line that says why, where a node cannot run.
