package hot

import "maps"

// A log whose folder is gone may be made again under the same name and with the same id, by who deleted a damaged one as its
// error says, or by who removed a partition and has it once more. What the state file says of the former folder is not to be
// believed of the new one. Its line is an orphan until a state file without it is durable, and no folder is made before.

// orphan notes that a folder that the state file may speak of is gone. The caller holds mu.
func (d *Dir) orphan(name string) {
	d.orphanings++
	d.orphans[name] = d.orphanings
}

// adopt makes sure that the state file does not speak of a former folder of that name.
func (d *Dir) adopt(name string) error {
	d.mu.Lock()
	_, orphan := d.orphans[name]
	d.mu.Unlock()
	if !orphan {
		return nil
	}
	return d.saveState()
}

// withoutOrphans calls save, which makes a state file durable.
func (d *Dir) withoutOrphans(save func() error) error {
	d.mu.Lock()
	gone := maps.Clone(d.orphans)
	d.mu.Unlock()
	if err := save(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.orphans, func(name string, which int) bool {
		return gone[name] == which // else it became one since
	})
	return nil
}
