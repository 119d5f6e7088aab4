package main

// longest are the packages that -quick leaves out.
var longest = []string{"e2e", "sim"}
