use std::path::Path;

use overboot_recipe::LockedImage;

use super::*;

const RECIPE: &str = r#"
[project]
name = "x"

[archive]
suite = "trixie"

[initrd.default]
modules = ["loop"]

[base.base]
[[base.base.provision]]
packages = ["greeter"]

[overlay.tools]
base = "base"
[[overlay.tools.provision]]
packages = ["hammer"]
"#;

/// A lock of a day, with those versions.
fn lock(epoch: u64, greeter: &str, hammer: &str) -> Lock {
    let mut text = format!("version = 1\nwanted = \"{}\"\nepoch = {epoch}\n", Digest::of("x"));
    for (target, name, version) in
        [("base/base", "greeter", greeter), ("overlay/tools", "hammer", hammer)]
    {
        text += &format!("[image.\"{target}\"]\nsteps = [[[\"{name}={version}\"]]]\n");
    }
    for (name, version) in [("greeter", greeter), ("hammer", hammer)] {
        let digest = Digest::of(format!("{name} {version}"));
        text += &format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\narchitecture = \"amd64\"\nsuite = \"trixie\"\n\
             path = \"x\"\nsize = 1\nsha256 = \"{digest}\"\n"
        );
    }
    let lock = Lock::parse(&text, Path::new("overboot.lock")).unwrap();
    assert_eq!(
        lock.images["base/base"],
        LockedImage {
            steps: vec![vec![vec![format!("greeter={greeter}")]]],
            epoch: None,
            wanted: None,
            stages: Vec::new(),
        }
    );
    lock
}

/// All that `lock` means has been built.
fn built(recipe: &Recipe, lock: &Lock, given: &mut Given) {
    for step in plan(recipe, lock, given, &[]).unwrap().steps {
        let record = Record {
            target: step.target.to_string(),
            key: step.key,
            inputs: step.inputs().clone(),
            packages: Vec::new(),
            entries: 0,
            unpacked: 0,
            beneath: None,
            facts: BTreeMap::new(),
        };
        given.have.insert(step.target, record);
    }
}

#[test]
fn an_overlay_that_holds_on_a_new_base_stays_and_is_told_apart() {
    let recipe = Recipe::parse(RECIPE, Path::new("/x/overboot.toml")).unwrap();
    let signer = Some("key".to_owned());
    let mut given = Given { signer, ..Given::default() };
    let tools = Target::Overlay("tools".to_owned());
    let of = |plan: &Plan, target: &Target| {
        plan.steps.iter().find(|step| step.target == *target).unwrap().clone()
    };
    let old = lock(1, "1", "1");
    built(&recipe, &old, &mut given);
    let before = plan(&recipe, &old, &given, &[]).unwrap();
    assert!(before.is_empty() && before.on_new_bases().is_empty());

    // While the new base is not there, nobody can say.
    let new = lock(2, "2", "1");
    let planned = plan(&recipe, &new, &given, &[]).unwrap();
    assert!(of(&planned, &tools).only_base_changed && of(&planned, &tools).runs());
    assert_eq!(planned.new_bases(), [Target::Base("base".to_owned())]);
    assert!(planned.on_new_bases().is_empty());

    let mut newer = given.clone();
    built(&recipe, &new, &mut newer);
    let base = Target::Base("base".to_owned());
    given.have.insert(base.clone(), newer.have[&base].clone());
    let planned = plan(&recipe, &new, &given, &[]).unwrap();
    assert_eq!(planned.on_new_bases(), std::slice::from_ref(&tools));
    given.kept.insert(tools.clone());
    let planned = plan(&recipe, &new, &given, &[]).unwrap();
    let step = of(&planned, &tools);
    assert!(step.kept && !step.runs());
    assert_eq!(step.key, given.have[&tools].key, "it is what it was");
    assert!(planned.to_string().contains("overlay/tools            valid on the new base"));
    let set = Target::Set("tools".to_owned());
    assert_ne!(
        of(&planned, &set).key,
        newer.have[&set].key,
        "its set is not that of a plain build"
    );

    // Another package of its own: there is nothing to keep.
    let planned = plan(&recipe, &lock(2, "2", "2"), &given, &[]).unwrap();
    assert!(!of(&planned, &tools).only_base_changed && of(&planned, &tools).runs());
}

#[test]
fn a_step_with_a_network_is_told_while_it_must_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.sh"), "").unwrap();
    let text = format!("{RECIPE}[[overlay.tools.provision]]\nscript = \"x.sh\"\nnetwork = true\n");
    let recipe = Recipe::parse(&text, &folder.path().join("overboot.toml")).unwrap();
    let lock = lock(1, "1", "1");
    let mut given = Given::default();
    let planned = plan(&recipe, &lock, &given, &[]).unwrap();
    assert!(planned.to_string().contains("overlay/tools uses the network"), "{planned}");
    built(&recipe, &lock, &mut given);
    assert!(plan(&recipe, &lock, &given, &[]).unwrap().notes.is_empty());
}

#[test]
fn a_base_whose_tree_is_gone_is_made_anew_with_all_that_stands_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{RECIPE}[overlay.other]\nbase = \"base\"\n");
    let recipe = Recipe::parse(&text, &folder.path().join("overboot.toml")).unwrap();
    let old = lock(1, "1", "1");
    let signer = Some("key".to_owned());
    let mut given = Given { signer, ..Given::default() };
    built(&recipe, &old, &mut given);
    let [base, other, tools] = [
        Target::Base("base".to_owned()),
        Target::Overlay("other".to_owned()),
        Target::Overlay("tools".to_owned()),
    ];
    let running = |given: &Given, wanted: &[Target]| -> Vec<String> {
        let plan = plan(&recipe, &old, given, wanted).unwrap();
        let running = plan.steps.iter().filter(|step| step.runs());
        running.map(|step| format!("{}: {}", step.target, step.why.join(", "))).collect()
    };
    // As long as nobody needs the tree, nobody misses it.
    given.gone.insert(base.clone());
    assert_eq!(running(&given, &[]), Vec::<String>::new());
    let of_other = given.have.remove(&other).unwrap();
    let why = "its tree is gone, and made again it may be another one";
    assert_eq!(
        running(&given, &[]),
        [
            format!("base/base: overlay/other is built on it, {why}"),
            "overlay/other: not built yet".to_owned(),
            "overlay/tools: base/base is made anew".to_owned(),
            "set/base: base/base is made anew".to_owned(),
            "set/other: base/base is made anew, overlay/other is made anew".to_owned(),
            "set/tools: base/base is made anew, overlay/tools is made anew".to_owned(),
        ]
    );
    given.gone.clear();
    assert_eq!(running(&given, std::slice::from_ref(&other)), ["overlay/other: not built yet"]);

    // Where only some were built then, the others are known to stand on what is no longer there.
    given.have.insert(other, of_other);
    given.contents.insert(base, Digest::of("now"));
    given.have.get_mut(&tools).unwrap().beneath = Some(Digest::of("now"));
    assert_eq!(running(&given, &[]), Vec::<String>::new());
    given.have.get_mut(&tools).unwrap().beneath = Some(Digest::of("before"));
    assert_eq!(
        running(&given, &[])[0],
        "overlay/tools: base/base is not the one that it was built on"
    );
}
