//! Packs a directory, to measure the writer against mksquashfs:
//! `pack DIRECTORY IMAGE [zstd|xz|gzip|lz4] [LEVEL] [BLOCK SIZE] [THREADS]`.

#[path = "../tests/oracle/scan.rs"]
mod scan;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;

use overboot_squashfs::{Compression, Options, write};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u32| args.get(at).map_or(Ok(default), |text| text.parse());
    let [directory, image, ..] = &args[..] else {
        return Err(
            "usage: pack DIRECTORY IMAGE [COMPRESSOR] [LEVEL] [BLOCK SIZE] [THREADS]".into()
        );
    };
    let options = Options {
        compression: match args.get(2).map_or("zstd", String::as_str) {
            "zstd" => Compression::Zstd { level: number(3, 15)?.try_into()? },
            "xz" => Compression::Xz,
            "gzip" => Compression::Gzip { level: number(3, 9)? },
            "lz4" => Compression::Lz4,
            other => return Err(format!("{other} is no compressor of squashfs").into()),
        },
        block_size: number(4, 1 << 20)?,
        threads: NonZeroUsize::new(number(5, 2)? as usize).unwrap_or(NonZeroUsize::MIN),
        ..Options::default()
    };
    let entries = scan::scan(Path::new(directory))?;
    let summary = write(entries, &options, std::fs::File::create(image)?, &mut |_| ())?;
    #[expect(clippy::print_stdout, reason = "it is what the example is for")]
    {
        println!("{summary:#?}");
    }
    Ok(())
}
