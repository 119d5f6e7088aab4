// Package console serves the page on which people see the fleet: one look at what `mimir status` tells, again and
// again, in a browser.
//
// It promises:
//
//   - The page says what whoever made the picture says, in those words, and adds nothing: what is not known is shown
//     as that, and never as a zero or as well. When no picture comes the page says so, and how old the one is that it
//     shows.
//   - Nothing is asked of the fleet while nobody looks, and one picture at a time is made for all who do.
//   - What is served is bounded: so many streams at a time, each for so long, and of a viewer who is slow no more than
//     the newest picture is kept.
//   - The page is part of the binary. It loads nothing from elsewhere, and its policy lets a browser run nothing but
//     it; it sets no cookie, so that no other page can act by whoever is logged in.
//   - It decides nothing about who may see: every route goes through the guard, by a line of the table of package
//     operator. /console/events is where status is open, and /console/operator/events asks for the operator's right.
//
// The page is HTML, CSS and nine modules of JavaScript as browsers read them, written by hand: there is one view, made
// of tables and lists, and what a framework would bring (its build, its updates, its advisories) is more than what it
// would save. Pictures come as server-sent events, read by fetch, since an EventSource cannot show a token.
//
// Keys are read by the page as by any client, over the API of etcd beside it, in the name of whoever looks: nothing
// here has a right to them. They are shown where that API is served, which listen-http does not.
//
// How a picture is made is the command line's business (cmd/mimir), and who may do what that of package operator. The
// page is tested in a real browser by a module of its own, in the folder browser.
package console
