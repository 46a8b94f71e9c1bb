package main

func produceCases() []Case { return nil }
