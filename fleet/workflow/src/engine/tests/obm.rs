//! Power controls: which one is taken, and what happens when it does not work.

use overboot_state::Status;
use serde_json::json;

use super::{fixture, reason};

#[tokio::test]
async fn a_node_without_a_service_is_told_so() {
    let fixture = fixture().await;
    let run = fixture.run("Graph.BootstrapUbuntu", json!({})).await;
    let run = fixture.ended(&run.instance_id).await;
    assert_eq!(run.status, Status::Failed);
    assert!(reason(&run, "set-boot-pxe").starts_with("the node has no OBM service"));
    assert!(reason(&run, "reboot").starts_with("the node has no OBM service"));
    let error = run.tasks[1].error.as_deref().unwrap();
    assert!(error.contains("/nodes/<id>/obm"), "{error}");
}

#[tokio::test]
async fn of_several_services_one_must_be_named() {
    let fixture = fixture().await.with_noop_obm().await;
    let state = fixture.engine.state();
    let config = json!({"qmp": "/nowhere/qmp.sock"});
    state.put_obm(&fixture.node.id, "qemu-obm-service", &config).await.unwrap();
    let run = fixture.run("Graph.Reboot.Node", json!({})).await;
    let run = fixture.ended(&run.instance_id).await;
    assert_eq!(run.status, Status::Failed);
    assert!(reason(&run, "reboot").contains("noop-obm-service, qemu-obm-service"));

    let named = json!({"defaults": {"obmServiceName": "noop-obm-service"}});
    let run = fixture.run("Graph.Reboot.Node", named).await;
    let run = fixture.ended(&run.instance_id).await;
    assert_eq!(run.status, Status::Succeeded, "{:#}", run.view());

    let unknown = json!({"reboot": {"obmServiceName": "ilo-obm-service"}});
    let run = fixture.run("Graph.Reboot.Node", unknown).await;
    let run = fixture.ended(&run.instance_id).await;
    assert!(reason(&run, "reboot").contains("no OBM service \"ilo-obm-service\""));
}

#[tokio::test]
async fn what_fails_is_tried_again_and_then_given_up() {
    let fixture = fixture().await;
    let state = fixture.engine.state();
    let config = json!({"qmp": "/nowhere/qmp.sock"});
    state.put_obm(&fixture.node.id, "qemu-obm-service", &config).await.unwrap();
    let run = fixture.run("Graph.Reboot.Node", json!({})).await;
    let run = fixture.ended(&run.instance_id).await;
    assert_eq!(run.status, Status::Failed);
    let error = run.tasks[0].error.as_deref().unwrap();
    assert!(error.contains("failed 3 times"), "{error}");
    assert!(error.contains("/nowhere/qmp.sock"), "{error}");
}
