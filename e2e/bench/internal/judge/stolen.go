package judge

// MostStolen is the share of CPU time that a machine's host may take away during an alternation. With more, the figures
// tell of the host, and the alternation is done again.
const MostStolen = 0.05

// Repeat says which alternation is done again, after all were done once: the one with the most stolen time, by index, or
// none if that is not too much, or if half as many as there are were repeated already. The caller keeps, of the two, the
// one with less stolen (Better); so what is kept in the end are those with the least of all that were done. Nothing but
// the stolen time decides: an alternation is kept or dropped as a whole, and whatever it measured.
func Repeat(stolen []float64, repeated int) (index int, again bool) {
	if repeated >= len(stolen)/2 {
		return 0, false
	}
	for i, s := range stolen {
		if s > stolen[index] {
			index = i
		}
	}
	return index, stolen[index] > MostStolen
}

// Better says whether an alternation that was repeated takes the place of the one before.
func Better(stolen, before float64) bool { return stolen < before }
