//! HTML pages for people: the console.
