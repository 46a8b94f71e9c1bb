package topicconfig

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/firnlog/firn/metadata/configdef"
)

// AtCreation validates the configs of a new topic and gives those to store with it: remote.storage.enable is
// resolved and stored, because what it follows may change later. internal is Kafka's own topics, which stay local.
func AtCreation(set, defaults map[string]string, internal bool) (map[string]string, error) {
	stored := maps.Clone(set)
	if stored == nil {
		stored = make(map[string]string)
	}
	if internal {
		if s, ok := set[RemoteStorageEnable]; ok && !strings.EqualFold(strings.TrimSpace(s), "false") {
			return nil, invalid(RemoteStorageEnable, "Invalid value %s for configuration %s: internal topics stay on local disk", clip(s), RemoteStorageEnable)
		}
		stored[RemoteStorageEnable] = "false"
	}
	v, err := Resolve(stored, defaults)
	if err != nil {
		return nil, err
	}
	stored[RemoteStorageEnable] = strconv.FormatBool(v.RemoteStorage)
	return stored, nil
}

// OpKind is what an Op does.
type OpKind = configdef.OpKind

// The kinds of operation.
const (
	Set      = configdef.Set
	Delete   = configdef.Delete
	Append   = configdef.Append
	Subtract = configdef.Subtract
)

// Op is one operation of IncrementalAlterConfigs.
type Op = configdef.Op

// Alter works ops into configs and gives the new map. It checks names and kinds, not what values say together:
// Change does.
func Alter(current, defaults map[string]string, ops []Op) (map[string]string, error) {
	next := maps.Clone(current)
	if next == nil {
		next = make(map[string]string)
	}
	seen := make(map[string]bool, len(ops))
	for _, op := range ops {
		d, ok := Lookup(op.Key)
		if !ok {
			return nil, invalid(op.Key, "Unknown topic config name: %s", clip(op.Key))
		}
		if seen[op.Key] {
			return nil, invalid(op.Key, "%s is named twice", op.Key)
		}
		seen[op.Key] = true
		switch op.Kind {
		case Set:
			next[op.Key] = op.Value
		case Delete:
			delete(next, op.Key)
		case Append, Subtract:
			if d.Type != List {
				return nil, invalid(op.Key, "%s is a %s: only a list can be appended to or subtracted from", op.Key, d.Type)
			}
			now, ok := next[op.Key]
			if !ok {
				if now, ok = defaults[op.Key]; !ok {
					now = d.Default
				}
			}
			next[op.Key] = op.Kind.Change(now, op.Value)
		default:
			return nil, invalid(op.Key, "unknown operation %d on %s", op.Kind, op.Key)
		}
	}
	return next, nil
}

// Changed is the outcome of Change.
type Changed struct {
	Set    map[string]string // what to set, compared with current
	Delete []string          // what to delete
	Values Values            // as they will be
	// Unarchived: the edit must compare, in its transaction, that nothing is archived
	// (metadata.AlterTopicConfigs.Unarchived).
	Unarchived bool
	// DropsArchive: remote storage is being turned off. What is only archived is to be trimmed (ledger
	// trim-start to the local start) before the edit, and said first.
	DropsArchive bool
}

// Change validates a change of an existing topic's configs from current to next (both as stored, not resolved),
// by the rules for archived topics: cleanup.policy may gain compact only while nothing is archived, and the
// topic then turns local in the same edit; remote storage is turned off only with
// remote.log.delete.on.disable=true. archived is whether any ledger of the topic names a segment, as far as the
// caller knows; Unarchived makes the store check it again.
func Change(current, next, defaults map[string]string, internal, archived bool) (Changed, error) {
	was, err := Resolve(current, defaults)
	if err != nil {
		// What is stored may have come from a version with laxer rules; it must not lock the topic for ever.
		was = Values{RemoteStorage: strings.EqualFold(current[RemoteStorageEnable], "true")}
	}
	next = maps.Clone(next)
	var c Changed
	gainsCompact := !was.Compact && slices.Contains(SplitList(next[CleanupPolicy]), "compact")
	if gainsCompact && was.RemoteStorage && strings.EqualFold(strings.TrimSpace(next[RemoteStorageEnable]), "true") {
		if archived {
			return c, invalid(CleanupPolicy, "cleanup.policy cannot be changed to %s: the topic has archived segments, and the archive cannot compact yet", next[CleanupPolicy])
		}
		next[RemoteStorageEnable] = "false"
		c.Unarchived = true
	}
	if _, ok := next[RemoteStorageEnable]; !ok && internal {
		next[RemoteStorageEnable] = "false"
	}
	v, err := Resolve(next, defaults)
	if err != nil {
		return c, err
	}
	if internal && v.RemoteStorage {
		return c, invalid(RemoteStorageEnable, "Invalid value true for configuration %s: internal topics stay on local disk", RemoteStorageEnable)
	}
	next[RemoteStorageEnable] = strconv.FormatBool(v.RemoteStorage)
	if was.RemoteStorage && !v.RemoteStorage && !c.Unarchived {
		if !v.RemoteDeleteOnDisable {
			return c, invalid(RemoteStorageEnable, "remote.storage.enable cannot be turned off without dropping what is archived: set remote.log.delete.on.disable=true as well to drop it, or keep it readable with remote.log.copy.disable=true")
		}
		c.DropsArchive = true
	}
	c.Values = v
	c.Set, c.Delete = configdef.Diff(current, next)
	return c, nil
}
