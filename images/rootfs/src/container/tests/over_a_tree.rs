//! Images that go over a tree which is not like them.

use std::os::unix::fs::symlink;

use super::*;

/// A tree with a merged `/usr` and a program in it, as Debian's are.
fn merged_usr(folder: &Path) -> Root {
    let root = Root::create(folder.join("tree")).unwrap();
    for name in ["bin", "lib", "sbin"] {
        root.write(format!("usr/{name}/own"), 0o755, b"tree").unwrap();
        symlink(format!("usr/{name}"), root.path().join(name)).unwrap();
    }
    root
}

fn over(folder: &Path, root: &Root, layer: Layer) -> Result<String, Error> {
    let said = Mutex::new(String::new());
    let say = |line: &str| *said.lock().unwrap() += &format!("{line}\n");
    let layers = files(folder, &gzip(&[layer]));
    apply(root, &layers, &folder.join("scratch"), &say)?;
    Ok(said.into_inner().unwrap())
}

#[test]
fn an_image_without_merged_usr_keeps_every_program_over_a_tree_with_it() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = merged_usr(folder.path());
    let folders = ["bin", "lib", "lib/both", "lib/linked", "sbin", "usr", "usr/bin", "usr/lib"];
    let image = folders.iter().fold(layer(), |layer, name| layer.folder(name, 0o755));
    let image = image
        // What the tree has, the image not.
        .symlink("bin/own", "/usr/bin/own")
        .symlink("sbin/own", "../usr/sbin/own")
        // A link either way, and a link to the same.
        .file("usr/bin/absolute", 0o755, b"absolute")
        .symlink("bin/absolute", "/usr/bin/absolute")
        .file("usr/bin/relative", 0o755, b"relative")
        .symlink("bin/relative", "../usr/bin/relative")
        .file("bin/which", 0o755, b"which")
        .symlink("usr/bin/which", "/bin/which")
        .file("bin/box", 0o755, b"box")
        .symlink("bin/sh", "box")
        .symlink("usr/bin/sh", "/bin/sh")
        .symlink("bin/ash", "../bin/box")
        .symlink("usr/bin/ash", "../../bin/box")
        .file("bin/hard", 0o755, b"hard")
        .hard_link("usr/bin/hard", "bin/hard")
        .hard_link("usr/bin/harder", "bin/hard")
        .file("bin/copy", 0o755, b"copy")
        .file("usr/bin/copy", 0o755, b"copy")
        // Up from where the tree has it elsewhere.
        .symlink("bin/other", "../usr/bin/relative")
        .symlink("lib/both/up", "../../usr/bin/relative")
        .symlink("lib/both/near", "../linked/in")
        .file("lib/linked/in", 0o644, b"in")
        .symlink("usr/lib/linked", "../../lib/linked")
        .folder("usr/lib/both", 0o755)
        .file("usr/lib/both/one", 0o644, b"one")
        .file("lib/both/two", 0o644, b"two");
    over(folder.path(), &root, image).unwrap();
    for (name, content) in [
        ("bin/own", "tree"),
        ("sbin/own", "tree"),
        ("bin/absolute", "absolute"),
        ("bin/relative", "relative"),
        ("bin/which", "which"),
        ("bin/sh", "box"),
        ("bin/ash", "box"),
        ("bin/hard", "hard"),
        ("bin/harder", "hard"),
        ("bin/copy", "copy"),
        ("bin/other", "relative"),
        ("lib/both/up", "relative"),
        ("lib/both/near", "in"),
        ("lib/linked/in", "in"),
        ("lib/both/one", "one"),
        ("lib/both/two", "two"),
    ] {
        for name in [name.to_owned(), format!("usr/{name}")] {
            assert_eq!(root.read_text(&name).unwrap().as_deref(), Some(content), "{name}");
        }
    }
    let tree = told(root.path());
    assert!(tree["usr/bin/hard"].contains(" x2 ") && tree["usr/bin/own"].contains(" x1 "));
    assert!(tree["usr/bin/other"].ends_with("-> \"/usr/bin/relative\""));
    assert!(tree["usr/lib/both/near"].ends_with("-> \"../linked/in\""), "as the image has it");
    assert!(tree["bin"].ends_with("-> \"usr/bin\""));
}

#[test]
fn an_image_takes_no_folder_away_and_does_not_choose_between_two_files() {
    if !root() {
        return;
    }
    let base = || layer().folder("usr", 0o755);
    let usr = || base().folder("bin", 0o755).folder("usr/bin", 0o755);
    for (image, why) in [
        (
            usr().file("bin/x", 0o755, b"1").file("usr/bin/x", 0o755, b"2"),
            "/bin/x is the same place as /usr/bin/x, and in the image they differ",
        ),
        (
            usr().symlink("bin/x", "a").symlink("usr/bin/x", "b"),
            "/bin/x is the same place as /usr/bin/x, and in the image they differ",
        ),
        (
            usr().folder("bin/x", 0o755).file("usr/bin/x", 0o755, b""),
            "/bin/x is the same place as /usr/bin/x, and in the image they differ",
        ),
        (base().symlink("usr/sbin", "bin"), "/usr/sbin is a folder with something in it"),
        (base().file("usr/sbin", 0o644, b""), "/usr/sbin is a folder with something in it"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let root = merged_usr(folder.path());
        let error = over(folder.path(), &root, image).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(root.read_text("sbin/own").unwrap().as_deref(), Some("tree"));
    }
    // Nothing is lost with an empty folder, nor where the link leads to what is there.
    let folder = tempfile::tempdir().unwrap();
    let root = merged_usr(folder.path());
    root.make_folder("srv").unwrap();
    let image = base().symlink("srv", "usr").folder("bin", 0o755).file("bin/new", 0o755, b"new");
    over(folder.path(), &root, image.symlink("usr/bin", "../bin")).unwrap();
    for (name, content) in [("srv/bin/own", "tree"), ("usr/bin/new", "new")] {
        assert_eq!(root.read_text(name).unwrap().as_deref(), Some(content), "{name}");
    }
}

#[test]
fn files_belong_to_who_has_their_owners_name() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = Root::create(folder.path().join("tree")).unwrap();
    root.write("etc/passwd", 0o644, b"root:x:0:0::/:\nmessages:x:101:101::/:\nman:x:6:12::/:\n")
        .unwrap();
    root.write("etc/group", 0o644, b"root:x:0:\nmessages:x:101:\nman:x:12:\n").unwrap();
    let owned = |layer: Layer, name: &str, uid: &[u8], gid: &[u8]| {
        layer.pax(&[("uid", uid), ("gid", gid)]).file(name, 0o6755, name.as_bytes())
    };
    let image = layer()
        .folder("etc", 0o755)
        .file("etc/passwd", 0o644, b"root:x:0:0::/:\nweb:x:101:15::/:\nman:x:13:15::/:\n")
        .file("etc/group", 0o644, b"root:x:0:\nman:x:15:web\nweb:x:101:\nnew:x:300:web\n");
    let image = owned(image, "web", b"101", b"101");
    let image = owned(image, "man", b"13", b"15");
    let image = owned(image, "nobodys", b"4711", b"300");
    let said = over(folder.path(), &root, image).unwrap();
    let owner = |name: &str| {
        let there = std::fs::metadata(root.path().join(name)).unwrap();
        assert_eq!(there.mode() & 0o7777, 0o6755);
        (there.uid(), there.gid())
    };
    assert_eq!(owner("web"), (999, 999));
    assert_eq!(owner("man"), (6, 12));
    assert_eq!(owner("nobodys"), (4711, 300));
    let text = |path: &str| root.read_text(path).unwrap().unwrap();
    let passwd = text("etc/passwd");
    for line in ["messages:x:101:101:", "web:x:999:12:", "man:x:6:12:"] {
        assert!(passwd.contains(line), "{passwd}");
    }
    let group = text("etc/group");
    for line in ["messages:x:101:\n", "man:x:12:web\n", "web:x:999:\n", "new:x:300:web\n"] {
        assert!(group.contains(line), "{group}");
    }
    assert!(said.contains("the image's user web gets the number 999: 101 is taken"), "{said}");
}

/// An image with whose passwords and keys somebody could come in.
fn open_to_its_maker() -> Layer {
    let folders =
        ["etc", "root", "root/.ssh", "home", "home/me", "home/me/.ssh", "srv", "srv/.ssh"];
    folders
        .iter()
        .fold(layer(), |layer, name| layer.folder(name, 0o755))
        .file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nweb::33:33::/srv:/bin/sh\n")
        .file("etc/shadow", 0o640, b"root:$y$j9T$a:1::::::\nopen::1::::::\nweb:*:1::::::\n")
        .file("root/.ssh/authorized_keys", 0o600, b"key")
        .file("home/me/.ssh/authorized_keys2", 0o600, b"key")
        .file("home/me/.ssh/config", 0o600, b"config")
        .file("srv/.ssh/authorized_keys", 0o600, b"key")
}

#[test]
fn nobody_comes_in_with_what_an_image_brought() {
    if !root() {
        return;
    }
    let keys =
        ["root/.ssh/authorized_keys", "home/me/.ssh/authorized_keys2", "srv/.ssh/authorized_keys"];
    // With nothing beneath it, as for `variant = "none"`.
    let (alone, said) = applied(&gzip(&[open_to_its_maker()])).unwrap();
    let shadow = &alone["etc/shadow"];
    assert!(
        shadow.ends_with("root:!$y$j9T$a:1::::::\nopen:!:1::::::\nweb:*:1::::::\n"),
        "{shadow}"
    );
    assert!(shadow.starts_with("100640 "), "{shadow}");
    assert!(alone["etc/passwd"].ends_with("\nweb:!:33:33::/srv:/bin/sh\n"), "{alone:?}");
    assert!(alone["home/me/.ssh/config"].ends_with("config"));
    for path in keys {
        assert!(!alone.contains_key(path), "{path}");
        assert!(said.contains(&format!("left out: the image's /{path}")), "{said}");
    }
    assert!(said.contains("locked in the image's /etc/shadow: root, open"), "{said}");
    // What the tree has is the recipe's doing.
    let folder = tempfile::tempdir().unwrap();
    let tree = Root::create(folder.path().join("tree")).unwrap();
    for (path, text) in [
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\nboss:x:1000:1000::/home/boss:/bin/sh\n"),
        ("etc/shadow", "root:*:1::::::\nboss:$y$j9T$b:1::::::\n"),
        ("home/boss/.ssh/authorized_keys", "own"),
        ("root/.ssh/authorized_keys", "own"),
    ] {
        tree.write(path, 0o600, text.as_bytes()).unwrap();
    }
    let image = open_to_its_maker().folder("home/boss", 0o755).folder("home/boss/.ssh", 0o700);
    let image = image.file("home/boss/.ssh/authorized_keys", 0o600, b"key");
    over(folder.path(), &tree, image).unwrap();
    let text = |path: &str| tree.read_text(path).unwrap();
    let shadow = text("etc/shadow").unwrap();
    for line in ["root:*:1", "boss:$y$j9T$b:1", "open:!:1", "web:*:1"] {
        assert!(shadow.contains(line), "{shadow}");
    }
    assert_eq!(shadow.lines().count(), 4);
    for path in ["home/boss/.ssh/authorized_keys", keys[0]] {
        assert_eq!(text(path).as_deref(), Some("own"), "{path}");
    }
    assert_eq!((text(keys[1]), text(keys[2])), (None, None));
}

/// An editor as update-alternatives has it where it is the only one: its database and its links.
struct Editor {
    name: &'static str,
    mode: &'static str,
    priority: u8,
    page: bool,
}

impl Editor {
    fn database(&self) -> String {
        let Self { name, mode, priority, page } = self;
        let [slave, page] = if *page {
            ["editor.1\n/usr/man/editor.1\n".to_owned(), format!("/usr/man/{name}.1\n")]
        } else {
            [String::new(), String::new()]
        };
        format!("{mode}\n/usr/bin/editor\n{slave}\n/usr/bin/{name}\n{priority}\n{page}\n")
    }

    fn links(&self) -> Vec<(&'static str, String)> {
        let mut links = vec![
            ("usr/bin/editor", "/etc/alternatives/editor".to_owned()),
            ("etc/alternatives/editor", format!("/usr/bin/{}", self.name)),
        ];
        if self.page {
            links.push(("usr/man/editor.1", "/etc/alternatives/editor.1".to_owned()));
            links.push(("etc/alternatives/editor.1", format!("/usr/man/{}.1", self.name)));
        }
        links
    }

    fn files(&self) -> Vec<(String, String)> {
        let own = [format!("usr/bin/{}", self.name), format!("usr/man/{}.1", self.name)];
        let own = own.into_iter().take(1 + usize::from(self.page));
        let own = own.map(|path| (path, self.name.to_owned()));
        let database = ("var/lib/dpkg/alternatives/editor".to_owned(), self.database());
        own.chain([database]).collect()
    }
}

#[test]
fn alternatives_lead_where_their_database_says() {
    if !root() || !require::program("update-alternatives") {
        return;
    }
    for (modes, nano, wanted) in [
        (["auto", "auto"], 40, ("auto", "nano")),
        (["auto", "auto"], 20, ("auto", "vim")),
        (["manual", "auto"], 20, ("manual", "nano")),
        (["auto", "manual"], 40, ("manual", "vim")),
        (["manual", "manual"], 20, ("manual", "nano")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let tree = Root::create(folder.path().join("tree")).unwrap();
        let nano = Editor { name: "nano", mode: modes[0], priority: nano, page: false };
        let vim = Editor { name: "vim", mode: modes[1], priority: 30, page: true };
        for (path, text) in nano.files() {
            tree.write(path, 0o755, text.as_bytes()).unwrap();
        }
        for (path, target) in nano.links() {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }
        let folders = ["etc", "etc/alternatives", "usr", "usr/bin", "usr/man"];
        let image = folders.iter().fold(layer(), |layer, name| layer.folder(name, 0o755));
        let files = vim.files();
        let image = files
            .iter()
            .fold(image, |layer, (path, text)| layer.file(path, 0o755, text.as_bytes()));
        let links = vim.links();
        let image = links.iter().fold(image, |layer, (path, target)| layer.symlink(path, target));
        over(folder.path(), &tree, image).unwrap();

        let said = run(Command::new("update-alternatives").arg("--root").arg(tree.path()).args([
            "--log",
            "/dev/null",
            "--query",
            "editor",
        ]));
        let (mode, name) = wanted;
        for line in [
            format!("Status: {mode}\n"),
            format!("Value: /usr/bin/{name}\n"),
            "Alternative: /usr/bin/nano\n".to_owned(),
            "Alternative: /usr/bin/vim\n".to_owned(),
        ] {
            assert!(said.contains(&line), "{modes:?}: {said}");
        }
        let text = |path: &str| tree.read_text(path).unwrap();
        assert_eq!(text("usr/bin/editor").as_deref(), Some(name));
        let page = Some("vim").filter(|vim| *vim == name);
        assert_eq!(text("usr/man/editor.1").as_deref(), page);
        for path in ["usr/man/editor.1", "etc/alternatives/editor.1"] {
            assert_eq!(tree.path().join(path).is_symlink(), page.is_some(), "{path}");
        }
    }
}
