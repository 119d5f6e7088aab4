// Package browser looks at the console with a real browser, without a screen: Chromium, driven by its own protocol.
//
// Its test takes a fleet of two regions through the loss of one, a failover by the commands that the page shows, and
// the way back, and compares what the page showed all the while with what happened. Where there is no Chromium it says
// so and is skipped; with -require-chromium it fails. The command in shots makes pictures of the page for people to
// look at, on a desktop and a phone, dark and light.
//
// It is a module of its own, so that what drives the browser is a dependency of nobody else.
package browser
