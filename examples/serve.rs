use kfconform::reference::kube::*;
#[tokio::main]
async fn main() {
    let world = World::start(WorldOptions::default()).await.unwrap();
    std::fs::write("/tmp/refkube.kubeconfig", world.kubeconfig()).unwrap();
    let t = std::time::Instant::now();
    for i in 0..5000 { world.create(serde_json::json!({"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"kube-public","name":format!("m{i}")},"data":{"a":"b"}})).await.unwrap(); }
    println!("creates/s in process {}", 5000.0 / t.elapsed().as_secs_f64());
    kfconform::install_crypto();
    let c = reqwest::Client::new();
    let t = std::time::Instant::now();
    for i in 0..2000 { c.get(format!("{}/api/v1/namespaces/kube-public/configmaps/m{i}", world.url())).bearer_auth(world.admin_token()).send().await.unwrap().bytes().await.unwrap(); }
    println!("http gets/s, one after another {}", 2000.0 / t.elapsed().as_secs_f64());
    let t = std::time::Instant::now();
    for i in 0..2000 { c.post(format!("{}/api/v1/namespaces/default/configmaps", world.url())).bearer_auth(world.admin_token()).json(&serde_json::json!({"metadata":{"name":format!("h{i}")}})).send().await.unwrap().bytes().await.unwrap(); }
    println!("http creates/s, one after another {}", 2000.0 / t.elapsed().as_secs_f64());
    c.delete(format!("{}/api/v1/namespaces/default/configmaps", world.url())).bearer_auth(world.admin_token()).send().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(400)).await;
}
