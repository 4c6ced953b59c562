//! The API, and what serve starts; RackHD's vocabulary and quirks end here.
