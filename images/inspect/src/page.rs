//! An image as one HTML page: nothing is loaded from anywhere, it is read in light and dark, on a desk and on a telephone.

use std::fmt::Write as _;

use overboot_record::Contents;

use crate::map::{By, Node, tree};
use crate::squares::{Rectangle, divide};
use crate::{Error, Image, Summary};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The shape that maps are laid out for: between that of a desk and that of a telephone.
const MAP: Rectangle = Rectangle { x: 0.0, y: 0.0, width: 1.4, height: 1.0 };

/// The page of an image.
///
/// # Errors
/// As [`Summary::of`].
pub fn page(image: &Image) -> Result<String, Error> {
    let summary = Summary::of(image)?;
    let parts = image.parts()?;
    let contents: Vec<(&str, &Contents)> = if image.kind() == "set" {
        let named = parts.iter().map(|part| Ok((part.target(), part.contents()?)));
        named.collect::<Result<_, Error>>()?
    } else {
        vec![("", image.contents()?)]
    };
    let mut body = String::new();
    head(&summary, &mut body);
    maps(&contents, &mut body);
    tables(&summary, &mut body);
    let title = escape(&summary.target);
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} · overboot</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    ))
}

fn head(summary: &Summary, out: &mut String) {
    let target = escape(&summary.target);
    let _ = writeln!(out, "<header>\n<h1>{target}</h1>\n<p class=\"digest\">{}</p>", summary.image);
    let mut told = Vec::new();
    if let Some(origin) = &summary.origin {
        told.push(format!("pulled from {}", escape(origin)));
    }
    if let Some(beneath) = &summary.beneath {
        let how = match beneath.same {
            Some(true) => "as it is in this store",
            Some(false) => "as it was before: the one in this store is another",
            None => "which is not in this store",
        };
        told.push(format!("stands on {} {how}", escape(&beneath.target)));
    }
    for (name, value) in &summary.facts {
        told.push(format!("{} {}", escape(name), escape(value)));
    }
    if !told.is_empty() {
        let _ = writeln!(out, "<p>{}</p>", told.join(" · "));
    }
    out.push_str("</header>\n<dl class=\"figures\">\n");
    let packed = format!("packed ({})", summary.format);
    let ratio = match summary.unpacked {
        0 => String::new(),
        unpacked => format!(" · packed to {} %", summary.packed.saturating_mul(100) / unpacked),
    };
    let installed = summary.packages.iter().filter(|package| !package.version.is_empty()).count();
    for (name, value) in [
        (packed.as_str(), size(summary.packed)),
        (&format!("unpacked{ratio}"), size(summary.unpacked)),
        ("names in it", summary.entries.to_string()),
        ("packages", installed.to_string()),
        ("nothing younger than", summary.epoch.split('T').next().unwrap_or_default().to_owned()),
    ] {
        let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(&value));
    }
    out.push_str("</dl>\n");
}

fn maps(contents: &[(&str, &Contents)], out: &mut String) {
    out.push_str(
        "<section>\n<h2>Where the bytes are</h2>\n\
         <div class=\"tabs\">\
         <input type=\"radio\" name=\"map\" id=\"by-package\" checked><label for=\"by-package\">by package</label>\
         <input type=\"radio\" name=\"map\" id=\"by-folder\"><label for=\"by-folder\">by folder</label>\n",
    );
    for (by, name) in [(By::Package, "package"), (By::Folder, "folder")] {
        let root = tree(contents, by);
        let _ = write!(
            out,
            "<div class=\"pane {name}\">\n<nav aria-label=\"where the map is\"><button type=\"button\">all · {}</button></nav>\n<div class=\"map\"><div class=\"k\">",
            size(root.size)
        );
        children(&root, root.size, MAP, 0, out);
        out.push_str("</div></div>\n</div>\n");
    }
    out.push_str("</div>\n</section>\n");
}

/// The rectangles of what is in a node, in percent of the node's own.
fn children(node: &Node, total: u64, within: Rectangle, depth: usize, out: &mut String) {
    let sizes: Vec<u64> = node.children.iter().map(|child| child.size).collect();
    for (at, (child, place)) in node.children.iter().zip(divide(&sizes, within)).enumerate() {
        let percent = |part: f64, whole: f64| if whole > 0.0 { part / whole * 100.0 } else { 0.0 };
        let _ = write!(
            out,
            "<div class=\"n\" style=\"left:{:.2}%;top:{:.2}%;width:{:.2}%;height:{:.2}%",
            percent(place.x, within.width),
            percent(place.y, within.height),
            percent(place.width, within.width),
            percent(place.height, within.height),
        );
        if depth == 0 {
            // Neighbours are told apart best by the golden angle.
            let _ = write!(out, ";--h:{}", (at * 137 + 210) % 360);
        }
        let name = escape(&child.path);
        // Deeper down, the way there is in the titles of what is around.
        let label = if depth == 0 {
            &*child.path
        } else {
            child.path.rsplit('/').next().unwrap_or_default()
        };
        let label = escape(label);
        let files =
            if child.files == 1 { "1 file".to_owned() } else { format!("{} files", child.files) };
        let share = child.size.saturating_mul(1000) / total.max(1);
        let (bytes, tenths) = (size(child.size), share % 10);
        let _ = write!(
            out,
            "\" title=\"{name}&#10;{bytes}, {}.{tenths} % of all, {files}\" data-n=\"{label} · {bytes}\"><b>{label} <i>{bytes}</i></b>",
            share / 10,
        );
        if !child.children.is_empty() {
            out.push_str("<div class=\"k\">");
            let inside = Rectangle { x: 0.0, y: 0.0, ..place };
            children(child, total, inside, depth + 1, out);
            out.push_str("</div>");
        }
        out.push_str("</div>");
    }
}

fn tables(summary: &Summary, out: &mut String) {
    if !summary.parts.is_empty() {
        let rows = summary.parts.iter().map(|part| {
            [escape(&part.target), size(part.packed), size(part.unpacked), part.image.short()]
        });
        table("What boots together", &["image", "packed", "unpacked", "digest"], rows, out);
    }
    packages(summary, out);
    let row = |path: &str, rest: String, bytes: u64| {
        [format!("<code>{}</code>", escape(path)), escape(&rest), size(bytes)]
    };
    let files = summary.files.iter().map(|file| {
        row(&file.path, file.package.clone().unwrap_or_else(|| "no package".to_owned()), file.size)
    });
    out.push_str("<div class=\"two\">\n");
    table("Largest files", &["path", "package", "size"], files, out);
    let folders = summary
        .folders
        .iter()
        .map(|folder| row(&folder.path, folder.files.to_string(), folder.size));
    table("Largest folders", &["path", "files", "size"], folders, out);
    out.push_str("</div>\n");
    changes(summary, out);
    let inputs = summary.inputs.iter().map(|(name, value)| {
        [escape(name), format!("<code>{}</code>", escape(&inputs_value(value)))]
    });
    table("Made from, besides packages", &["input", "value"], inputs, out);
    let _ = writeln!(
        out,
        "<footer><p>manifest {} · written by overboot {}</p></footer>",
        summary.digest,
        env!("CARGO_PKG_VERSION")
    );
}

/// Lists are stored as JSON: shown with a space behind each comma, they wrap.
fn inputs_value(value: &str) -> String {
    value.replace("\",\"", "\", \"")
}

fn packages(summary: &Summary, out: &mut String) {
    let largest = summary.packages.first().map_or(1, |package| package.size.max(1));
    let _ = writeln!(
        out,
        "<section>\n<h2>Packages</h2>\n<p><label>Only those with <input type=\"search\" id=\"filter\" autocomplete=\"off\"></label> <output id=\"count\"></output></p>\n\
         <div class=\"scroll\"><table id=\"packages\">\n<thead><tr><th>package</th><th>version</th><th>section</th><th class=\"r\">files</th><th class=\"r\">size</th></tr></thead>\n<tbody>"
    );
    for package in &summary.packages {
        let share = package.size.saturating_mul(100) / largest;
        let version = if package.version.is_empty() {
            "changed here, of the base beneath".to_owned()
        } else {
            package.version.clone()
        };
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"r\">{}</td><td class=\"r bar\" style=\"--w:{share}%\">{}</td></tr>",
            escape(&package.name),
            escape(&version),
            escape(&package.section),
            package.files,
            size(package.size),
        );
    }
    if summary.unowned > 0 {
        let share = summary.unowned.saturating_mul(100) / largest;
        let _ = writeln!(
            out,
            "<tr><td><em>no package</em></td><td></td><td></td><td></td><td class=\"r bar\" style=\"--w:{}%\">{}</td></tr>",
            share.min(100),
            size(summary.unowned),
        );
    }
    out.push_str("</tbody>\n</table></div>\n</section>\n");
}

fn changes(summary: &Summary, out: &mut String) {
    let list =
        |names: &[String]| names.iter().map(|name| escape(name)).collect::<Vec<_>>().join(", ");
    if !summary.removed.is_empty() || !summary.whiteouts.is_empty() {
        let rows = [("packages", &summary.removed), ("paths", &summary.whiteouts)];
        let rows = rows.iter().filter(|(_, names)| !names.is_empty());
        let rows = rows.map(|(what, names)| [(*what).to_owned(), list(names)]);
        table("Removes from the base", &["what", "which"], rows, out);
    }
    if !summary.databases.is_empty() {
        let rows = summary.databases.iter().map(|change| {
            let path = format!("<code>{}</code>", escape(&change.path));
            [path, list(&change.put), list(&change.gone)]
        });
        table(
            "Changes in what all layers share",
            &["database", "adds or replaces", "removes"],
            rows,
            out,
        );
    }
}

/// A table of cells that are HTML; sizes and counts stand to the right.
fn table<const N: usize>(
    title: &str,
    heads: &[&str; N],
    rows: impl Iterator<Item = [String; N]>,
    out: &mut String,
) {
    let right = |head: &str| matches!(head, "size" | "files" | "packed" | "unpacked");
    let _ = write!(out, "<section>\n<h2>{title}</h2>\n<div class=\"scroll\"><table>\n<thead><tr>");
    for head in heads {
        let class = if right(head) { " class=\"r\"" } else { "" };
        let _ = write!(out, "<th{class}>{head}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (head, cell) in heads.iter().zip(row) {
            let class = if right(head) { " class=\"r\"" } else { "" };
            let _ = write!(out, "<td{class}>{cell}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n</section>\n");
}

/// Text as HTML has it, also between quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// `48.2 MB`: decimal, as disks and network cards count.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{}.{} kB", bytes / 1_000, bytes % 1_000 / 100),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_becomes_markup() {
        assert_eq!(escape("<a href=\"x\">'&\n"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}");
        let node = Node {
            path: String::new(),
            size: 3,
            files: 2,
            children: vec![Node { path: "<script>\"".into(), size: 3, files: 2, children: vec![] }],
        };
        let mut html = String::new();
        children(&node, 3, MAP, 0, &mut html);
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;&quot;"), "{html}");
        assert!(html.contains("width:100.00%;height:100.00%"), "{html}");
    }
}
