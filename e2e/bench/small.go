package main

func smallCases() []Case { return nil }
