use super::*;

fn module(path: &str, depends: &[&str], aliases: &[&str], softdeps: &[&str]) -> Installed {
    let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
    Installed {
        path: path.to_owned(),
        info: ModuleInfo {
            depends: owned(depends),
            aliases: owned(aliases),
            softdeps: owned(softdeps),
            ..ModuleInfo::default()
        },
    }
}

fn sample() -> Index {
    let modules = vec![
        module("kernel/z.ko", &[], &["crypto-z", "devname:z", "char-major-10-7"], &[]),
        module("kernel/a-b.ko.xz", &["lib", "vfat"], &["pci:v1[a-f]-*"], &["pre: crypto-z"]),
        module("kernel/lib.ko", &["z"], &[], &[]),
        module("extra/new.ko", &["gone"], &[], &[]),
    ];
    let builtin = Builtin::parse("kernel/fs/vfat.ko\n", b"vfat.alias=fs-vfat\0vfat.license=GPL\0");
    Index::build(modules, "kernel/a-b.ko\nkernel/lib.ko\nkernel/z.ko\n", builtin).unwrap()
}

#[test]
fn the_text_files() {
    let index = sample();
    assert_eq!(
        index.dep(),
        "kernel/a-b.ko.xz: kernel/lib.ko kernel/z.ko\nkernel/lib.ko: kernel/z.ko\nkernel/z.ko:\nextra/new.ko:\n"
    );
    assert!(index.alias().contains("\nalias pci:v1[a-f]-* a_b\n"));
    assert!(index.softdep().ends_with("\nsoftdep a_b pre: crypto-z\n"));
    assert!(index.devname().ends_with("\nz z c10:7\n"));
    let missing = [Missing { module: "new".into(), dependency: "gone".into() }];
    assert_eq!(index.missing(), missing);
    assert_eq!(normalised("a-b[a-f]-c"), "a_b[a-f]_c");
}

#[test]
fn a_closure_follows_soft_dependencies_through_aliases() {
    let modules = vec![
        module("a.ko", &["b"], &[], &["pre: crypto-z"]),
        module("b.ko", &[], &[], &[]),
        module("z.ko", &["y"], &["crypto-z"], &[]),
        module("y.ko", &[], &[], &[]),
        module("other.ko", &[], &[], &[]),
    ];
    let index = Index::build(modules, "", Builtin::default()).unwrap();
    assert_eq!(index.closure(["a"], false), ["a", "b"]);
    assert_eq!(index.closure(["a", "nothing"], true), ["a", "b", "y", "z"]);
}

#[test]
fn two_of_a_name_and_circles_are_refused() {
    let twice = vec![module("a/x-y.ko", &[], &[], &[]), module("b/x_y.ko.xz", &[], &[], &[])];
    let error = Index::build(twice, "", Builtin::default()).unwrap_err();
    assert_eq!(error.to_string(), "two modules are called \"x_y\": a/x-y.ko and b/x_y.ko.xz");
    let circle = vec![module("a.ko", &["b"], &[], &[]), module("b.ko", &["a"], &[], &[])];
    let error = Index::build(circle, "", Builtin::default()).unwrap_err();
    assert_eq!(error, Error::Cycle { names: vec!["a".into(), "b".into()] });
}
