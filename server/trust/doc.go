// Package trust is TLS that follows its files: what is shown and what is trusted is what they had when they were looked
// at last, while connections come and go.
//
// It promises that a handshake uses what the files had no longer ago than Options.Every (T1); that files which cannot
// be used, because they are broken, do not belong together or have expired, change nothing, and are told of in the log,
// once for each thing that is wrong, and in figures (T2); that a connection ends within Options.Grace of the look that
// finds the other side's certificate revoked, or signed by no trusted authority any longer (T3); and that nothing which
// it tells of anybody has come from a file of keys (T4).
//
// A connection does not end because a certificate has expired while it stood, nor because that of this side was
// replaced: only the next handshake asks. No session is resumed, since a resumed one would not ask either.
//
// It leaves to server which files there are, and who may do what with which certificate, and to package door the
// connections that were accepted.
package trust
