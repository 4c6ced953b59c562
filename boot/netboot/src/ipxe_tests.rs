use super::*;

const MAC: Mac = Mac::new([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

fn plan() -> BootPlan {
    BootPlan {
        name: "discovery".into(),
        kernel: "http://10.0.0.1:9090/boot/blobs/sha256/aa".into(),
        initrds: vec![
            "http://10.0.0.1:9090/boot/blobs/sha256/bb".into(),
            "http://10.0.0.1:9090/boot/blobs/sha256/cc".into(),
        ],
        cmdline:
            "overboot.set=http://10.0.0.1:9090/boot/sets/discovery.json  API_CB=10.0.0.1:9090 \
                  BOOTIF=01-52:54:00:12:34:56 console=ttyS0,115200n8 quoted=\"a\""
                .into(),
    }
}

fn context() -> Context {
    Context { interface: Some(MAC), syslog: Some([10, 0, 0, 1].into()) }
}

#[test]
fn redirect() {
    let url = "http://10.0.0.1:9090/api/current/profiles";
    insta::assert_snapshot!(redirect_script(url, Context::default()).unwrap());
}

#[test]
fn autoexec() {
    let url = "http://10.0.0.1:9090/api/current/profiles";
    insta::assert_snapshot!(autoexec_script(url).unwrap(), @r"
    #!ipxe
    echo overboot: asking for an address
    ifconf --configurator dhcp || ifconf --configurator dhcp || ifconf --configurator dhcp || autoboot || exit 1
    chain --autofree http://10.0.0.1:9090/api/current/profiles ||
    iseq ${platform} efi && exit 1 || exit 0
    ");
}

#[test]
fn boot() {
    insta::assert_snapshot!(boot_script(&plan(), "Graph.BootstrapUbuntu", context()).unwrap());
}

#[test]
fn the_short_scripts() {
    let scripts = [
        local_disk_script(Exit::Firmware, "nothing to do"),
        local_disk_script(Exit::FirstDisk, "nothing to do"),
        wait_script(3, "no workflow yet"),
        error_script("the kernel is gone; run ${this} && weep #now\nboot --now"),
    ];
    insta::assert_snapshot!(scripts.join("\n"));
}

#[test]
fn a_decision_becomes_its_script() {
    let boot = BootDecision::Boot { plan: plan(), reason: "it".into() };
    assert_eq!(script(&boot, context()), boot_script(&plan(), "it", context()));
    let wait = BootDecision::Wait { seconds: 3, reason: "it".into() };
    assert_eq!(script(&wait, context()).unwrap(), wait_script(3, "it"));
}

#[test]
fn what_ipxe_would_misread_is_refused() {
    for bad in ["a=${net0/mac}", "a || b", "a && reboot", "a ; b", "#a", "naïve"] {
        let plan = BootPlan { cmdline: bad.into(), ..plan() };
        assert!(
            matches!(boot_script(&plan, "", context()), Err(ScriptError::Word { .. })),
            "{bad}"
        );
    }
    for bad in ["", "vmlinuz", "http://h/a b", "http://h/a\nreboot"] {
        let plan = BootPlan { kernel: bad.into(), ..plan() };
        assert!(matches!(boot_script(&plan, "", context()), Err(ScriptError::Url { .. })), "{bad}");
    }
    let plan = BootPlan { kernel: "http://h/${x}".into(), ..plan() };
    assert_eq!(
        boot_script(&plan, "", context()).unwrap_err().to_string(),
        "iPXE cannot carry \"http://h/${x}\" in the kernel's URL: ${ begins a setting"
    );
}
