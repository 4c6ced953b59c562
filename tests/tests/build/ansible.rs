//! Roles and playbooks, by the real Ansible, on a small base from the real archive.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use overboot_testkit::archive::{Server, Tree};
use overboot_testkit::program::run;
use overboot_testkit::{deadline, images, require};

use crate::project::{Project, failed, folder, is_running};

/// A role as on-imagebuilder had it, with all that it may have.
const ROLE: [(&str, &str); 6] = [
    (
        "roles/overlay/raid/tasks/main.yml",
        r#"---
- name: Tools
  apt: name={{ item }} state=present
  with_items: "{{ provisioner_pkgs }}"

- name: Folder of the configuration
  file: path=/etc/raid state=directory mode=0750

- name: Configuration
  template: src=raid.conf.j2 dest=/etc/raid/raid.conf mode=0640
  notify: Note it

- name: Vendor's tool
  copy: src=storcli dest=/tmp/storcli mode=0755

- name: Into its place
  command: install -D /tmp/storcli /opt/MegaRAID/storcli/storcli64
  args:
    creates: /opt/MegaRAID/storcli/storcli64

- name: User
  user: name=raidadmin uid=180 system=yes shell=/usr/sbin/nologin home=/opt/MegaRAID create_home=no

- name: Line
  lineinfile: path=/etc/profile line="end=raid"
  when: ansible_distribution == "Debian"

- name: What is seen of the machine
  shell: ls /dev /sys > /etc/raid/seen; echo $$ > /tmp/left
  become: yes

- name: Service
  service: name=raid enabled=yes state=started
  failed_when: false
"#,
    ),
    (
        "roles/overlay/raid/handlers/main.yml",
        "- name: Note it\n  shell: echo changed > /etc/raid/noted\n",
    ),
    (
        "roles/overlay/raid/templates/raid.conf.j2",
        "level={{ level }} on {{ ansible_architecture }}{% if loud %} loudly{% endif %}\n",
    ),
    ("roles/overlay/raid/files/storcli", "\u{0}program\u{7f}\n"),
    ("roles/overlay/raid/defaults/main.yml", "level: 0\nloud: false\n"),
    ("vars/raid.yml", "provisioner_pkgs: [hdparm, dash]\nlevel: 6\n"),
];

/// A playbook with what stands beside it.
const PLAYBOOK: [(&str, &str); 5] = [
    (
        "plays/site.yml",
        "- hosts: all\n  gather_facts: no\n  roles: [greeting]\n  tasks:\n  - import_tasks: tasks/more.yml\n",
    ),
    ("plays/tasks/more.yml", "- copy: content={{ word }} dest=/etc/more mode=0600\n"),
    ("plays/roles/greeting/tasks/main.yml", "- template: src=motd dest=/etc/motd\n"),
    ("plays/roles/greeting/templates/motd", "welcome to {{ place }}\n"),
    ("plays/group_vars/all.yml", "place: the cluster\n"),
];

/// A project with a base of its own, and these files.
fn project(more: &str, files: &[(&str, &str)]) -> Option<(tempfile::TempDir, Project)> {
    if !(require::root() && require::programs(&["ansible-playbook", "unsquashfs"])) {
        return None;
    }
    let folder = folder();
    let project = Project::init(folder.path().join("project"), images::cache());
    let key = project.key();
    project.write_recipe(&format!(
        r#"
[project]
name = "played"
trust = ["{key}"]
[archive]
suite = "trixie"
[base.base]
path-exclude = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"]
{more}"#
    ));
    for (path, text) in files {
        let path = project.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    Some((folder, project))
}

fn text(project: &Project, target: &str, path: &str) -> String {
    let (digest, _) = &project.images()[target];
    run(Command::new("unsquashfs").arg("-cat").arg(project.blob(digest)).arg(path))
}

fn listing(project: &Project, target: &str) -> String {
    let (digest, _) = &project.images()[target];
    run(Command::new("unsquashfs").args(["-d", "", "-lln"]).arg(project.blob(digest)))
}

#[test]
fn a_role_makes_an_overlay_and_a_playbook_a_base() {
    let more = r#"
[[base.base.provision]]
ansible = { playbook = "plays/site.yml", extra-vars = { word = "${arch} again" } }

[overlay.raid]
base = "base"
[[overlay.raid.provision]]
packages = ["hdparm"]
[[overlay.raid.provision]]
ansible = { role = "roles/overlay/raid", vars = ["vars/raid.yml"], extra-vars = { loud = true } }
"#;
    let Some((_folder, project)) = project(more, &[ROLE.as_slice(), &PLAYBOOK].concat()) else {
        return;
    };
    project.succeed(&["build", "overlay/raid"]);
    project.assert_clean();
    let raid = |path: &str| text(&project, "overlay/raid", path);
    assert_eq!(raid("etc/raid/raid.conf"), "level=6 on x86_64 loudly\n");
    assert_eq!(raid("etc/raid/noted"), "changed\n");
    assert_eq!(raid("opt/MegaRAID/storcli/storcli64"), "\u{0}program\u{7f}\n");
    assert!(raid("etc/profile").ends_with("end=raid\n"));
    let seen = raid("etc/raid/seen");
    assert!(seen.contains("urandom") && !seen.contains("block"), "{seen}");
    let listed = listing(&project, "overlay/raid");
    for line in ["drwxr-x--- 0/0", "-rw-r----- 0/0", "/usr/sbin/hdparm"] {
        assert!(listed.contains(line), "{line}: {listed}");
    }
    let merged = raid("usr/lib/overboot/overlays/raid.json");
    assert!(merged.contains("raidadmin"), "{merged}");
    let base = listing(&project, "base/base");
    assert_eq!(text(&project, "base/base", "etc/motd"), "welcome to the cluster\n");
    assert_eq!(text(&project, "base/base", "etc/more"), "amd64 again");
    // Nothing is left of what it was done with.
    for word in ["ansible", "python", "policy-rc.d", "resolv.conf", "tmp/", "run/"] {
        assert!(!listed.contains(word), "{word}: {listed}");
    }
    for word in ["ansible", "bin/python", "policy-rc.d", "resolv.conf", " /tmp/"] {
        assert!(!base.contains(word), "{word}: {base}");
    }

    // Once more from nothing, to the same bytes.
    project.succeed(&["verify", "--rebuild", "overlay/raid"]);
    let unchanged = project.succeed(&["plan", "overlay/raid"]);
    assert!(!unchanged.contains("build:"), "{unchanged}");
    let template = project.folder.join("roles/overlay/raid/templates/raid.conf.j2");
    fs::write(template, "another\n").unwrap();
    let planned = project.succeed(&["plan", "overlay/raid"]);
    let why = "ansible roles/overlay/raid reads roles/overlay/raid changed";
    assert!(
        planned.contains(why) && planned.contains("base/base                unchanged"),
        "{planned}"
    );
}

#[test]
fn what_fails_is_told_with_its_place() {
    let more = r#"
[overlay.failing]
base = "base"
[[overlay.failing.provision]]
ansible = { role = "roles/failing" }
[overlay.elsewhere]
base = "base"
[[overlay.elsewhere.provision]]
ansible = { playbook = "plays/elsewhere.yml" }
[overlay.reaching]
base = "base"
[[overlay.reaching.provision]]
ansible = { role = "roles/reaching", extra-vars = { from = "@URL@/dists/x" } }
"#;
    let fails = "- debug: msg=first\n\n- name: Look for it\n  shell: echo not here >&2; exit 3\n";
    let reaches = "- name: Fetch\n  get_url: url={{ from }} dest=/etc/fetched\n";
    let files = [
        ("roles/failing/tasks/main.yml", fails),
        ("plays/elsewhere.yml", "- hosts: webservers\n  tasks: []\n"),
        ("roles/reaching/tasks/main.yml", reaches),
    ];
    let server = Server::start(Tree::from([("dists/x".to_owned(), b"fetched\n".to_vec())]));
    let more = more.replace("@URL@", &server.uri());
    let Some((_folder, project)) = project(&more, &files) else { return };

    // Before anything is built.
    let without = project.overboot(["build", "overlay/failing"]).env("PATH", "/nowhere").output();
    let said = failed(&without.unwrap());
    assert!(
        said.contains("this machine has no Ansible") && said.contains("apt-get install ansible")
    );

    let said = project.fail(&["build", "overlay/failing"]);
    for word in ["roles/failing/tasks/main.yml:3", "\"failing : Look for it\"", "not here"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains(".overboot"), "{said}");
    project.assert_clean();

    let said = project.fail(&["build", "overlay/elsewhere"]);
    assert!(said.contains("did nothing in the image") && said.contains("hosts: all"), "{said}");

    let said = project.fail(&["build", "overlay/reaching"]);
    assert!(
        said.contains("roles/reaching/tasks/main.yml:1") && said.contains("network = true"),
        "{said}"
    );
    let path = project.folder.join("overboot.toml");
    project.write_recipe(&(fs::read_to_string(&path).unwrap() + "network = true\n"));
    let planned = project.succeed(&["plan", "overlay/reaching"]);
    assert!(planned.contains("overlay/reaching uses the network"), "{planned}");
    let said = project.fail(&["--offline", "build", "overlay/reaching"]);
    assert!(said.contains("leave out --offline"), "{said}");
    project.succeed(&["build", "overlay/reaching"]);
    assert_eq!(text(&project, "overlay/reaching", "etc/fetched"), "fetched\n");
    assert!(!listing(&project, "overlay/reaching").contains("resolv.conf"));
}

#[test]
fn a_play_ends_with_the_build() {
    let more = r#"
[overlay.slow]
base = "base"
[[overlay.slow.provision]]
ansible = { role = "roles/slow" }
"#;
    // Found by what nobody else waits for.
    let slow = format!("sleep 1{:08}", std::process::id());
    let task = format!("- shell: echo x > /etc/left; {slow}\n");
    let Some((_folder, project)) = project(more, &[("roles/slow/tasks/main.yml", &task)]) else {
        return;
    };
    let mut build = project.overboot(["build", "overlay/slow"]);
    let mut build = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    deadline::eventually("the task runs", Duration::from_secs(600), || {
        assert!(build.try_wait().unwrap().is_none(), "it waits for its task");
        is_running(&slow)
    });
    build.kill().unwrap();
    build.wait().unwrap();
    let ours = project.folder.join(".overboot/scratch").display().to_string();
    deadline::eventually("all of it has ended", Duration::from_secs(60), || {
        !is_running(&slow) && !is_running(&ours)
    });
    project.assert_let_go();
    let task = "- copy: content=made dest=/etc/made\n";
    fs::write(project.folder.join("roles/slow/tasks/main.yml"), task).unwrap();
    project.succeed(&["build", "overlay/slow"]);
    let listed = listing(&project, "overlay/slow");
    assert!(listed.contains("/etc/made") && !listed.contains("/etc/left"), "{listed}");
    project.assert_clean();
}

#[test]
fn a_play_sees_what_it_reads_and_the_same_facts_everywhere() {
    let peeks = r#"- name: Facts
  copy: dest=/etc/facts content="{{ ansible_facts | to_nice_json }}"
- name: What is known of it everywhere
  copy:
    dest: /etc/known
    content: "{{ ansible_architecture }} {{ ansible_facts['distribution'] }} {{ ansible_facts.os_family }} {{ ansible_pkg_mgr }}"
- name: The project by its own name, and by the way up
  copy:
    dest: /etc/peeked
    content: "{{ lookup('pipe', 'ls -A ' + at + '; cat ' + at + '/unread; cat ' + at + '/keys/*; cd ../../..; ls -A; true') }}"
"#;
    let takes = "- name: Take it\n  copy: src={{ at }}/unread dest=/etc/taken\n";
    let rescues = r#"- block:
  - name: Cause
    command: cat /cause
  always:
  - block:
    - name: Attempt
      command: cat /attempt
    rescue:
    - command: "true"
"#;
    let more = r#"
[overlay.peeking]
base = "base"
[[overlay.peeking.provision]]
ansible = { role = "roles/peeking", extra-vars = { at = "@AT@" } }
[overlay.taking]
base = "base"
[[overlay.taking.provision]]
ansible = { role = "roles/taking", extra-vars = { at = "@AT@" } }
[overlay.rescuing]
base = "base"
[[overlay.rescuing.provision]]
ansible = { role = "roles/rescuing" }
[overlay.linked]
base = "base"
[[overlay.linked.provision]]
ansible = { role = "roles/linked" }
"#;
    let files = [
        ("roles/peeking/tasks/main.yml", peeks),
        ("roles/taking/tasks/main.yml", takes),
        ("roles/rescuing/tasks/main.yml", rescues),
        ("roles/linked/tasks/main.yml", "[]\n"),
        ("roles/linked/files/plain", "plain\n"),
        ("unread", "not to be read\n"),
    ];
    let Some((_folder, project)) = project(more, &files) else { return };
    let path = project.folder.join("overboot.toml");
    let recipe = fs::read_to_string(&path).unwrap();
    project.write_recipe(&recipe.replace("@AT@", project.folder.to_str().unwrap()));

    project.succeed(&["build", "overlay/peeking"]);
    let facts = text(&project, "overlay/peeking", "etc/facts");
    let facts: serde_json::Value = serde_json::from_str(&facts).unwrap();
    for name in
        ["date_time", "kernel", "kernel_version", "cmdline", "hostname", "dns", "memtotal_mb"]
    {
        assert!(facts.get(name).is_none(), "{name}: {facts}");
    }
    assert_eq!(text(&project, "overlay/peeking", "etc/known"), "x86_64 Debian Debian apt");
    let peeked = text(&project, "overlay/peeking", "etc/peeked");
    assert!(peeked.contains(".overboot"), "{peeked}");
    for word in ["overboot.toml", "keys", "taking", "unread", "not to be read"] {
        assert!(!peeked.contains(word), "{word}: {peeked}");
    }

    let said = project.fail(&["build", "overlay/taking"]);
    assert!(
        said.contains("\"taking : Take it\"") && said.contains("put what it needs into `reads`"),
        "{said}"
    );
    let said = project.fail(&["build", "overlay/rescuing"]);
    assert!(
        said.contains("\"rescuing : Cause\"") && !said.contains("\"rescuing : Attempt\""),
        "{said}"
    );
    std::os::unix::fs::symlink("/etc/passwd", project.folder.join("roles/linked/files/link"))
        .unwrap();
    let said = project.fail(&["build", "overlay/linked"]);
    assert!(said.contains("roles/linked/files/link leads out"), "{said}");
    assert!(said.contains("overboot.toml:"), "{said}");
    project.assert_clean();

    // Another version may do another thing; none at all does nothing.
    let plan = |path: &str| {
        let planned = project.overboot(["plan", "overlay/peeking"]).env("PATH", path).output();
        String::from_utf8(planned.unwrap().stdout).unwrap()
    };
    let programs = project.folder.join("programs");
    fs::create_dir(&programs).unwrap();
    let newer = programs.join("ansible-playbook");
    fs::write(&newer, "#!/bin/sh\necho 'ansible-playbook [core 99.1]'\n").unwrap();
    fs::set_permissions(&newer, PermissionsExt::from_mode(0o755)).unwrap();
    let planned = plan(&format!("{}:/usr/bin:/bin", programs.display()));
    assert!(
        planned.contains("ansible changed: core 2.") && planned.contains("-> core 99.1"),
        "{planned}"
    );
    assert!(!plan("/nowhere").contains("build:"));
    // And one that is in the project cannot see itself.
    let within = format!("{}:/usr/bin:/bin", programs.display());
    let said = project.overboot(["build", "overlay/peeking"]).env("PATH", within).output();
    let said = failed(&said.unwrap());
    assert!(said.contains("is in the project"), "{said}");
}
