package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/topic"
)

// DeleteTopics 1-6, by name and, from 6, by id. The topic is gone with the answer; its archived objects are freed after
// firn.remote.delete.delay.ms.
//
// Deliberate gaps: none.
var deleteTopicsHandler = handler{20, 1, 6, blocking((*API).deleteTopics)}

// topicName is how a request names a topic: by name, or by id.
type topicName struct {
	name  string
	id    topic.ID
	named bool // by name, which may be empty
}

// deleted is the answer for a topic.
func (w topicName) deleted(err error) kmsg.DeleteTopicsResponseTopic {
	out := kmsg.NewDeleteTopicsResponseTopic()
	out.TopicID, out.ErrorCode, out.ErrorMessage = w.id, code(err), message(err)
	if w.named {
		out.Topic = &w.name
	}
	return out
}

func (a *API) deleteTopics(ctx context.Context, req *kmsg.DeleteTopicsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	ctx, cancel := deadline(ctx, req.TimeoutMillis)
	defer cancel()
	if !a.Configs.Values().DeleteTopics {
		return refuseDeletion(req, resp)
	}
	wanted, errs := deleteNames(req)
	img := a.Cluster.Image()
	times := map[topic.ID]int{}
	topics := make([]*metadata.Topic, len(wanted))
	for i, w := range wanted {
		if errs[i] != nil {
			continue
		}
		if w.named {
			topics[i], errs[i] = img.TopicByName(w.name), kerr.UnknownTopicOrPartition
		} else {
			topics[i], errs[i] = img.TopicByID(w.id), kerr.UnknownTopicID
		}
		if topics[i] != nil {
			errs[i] = nil
			times[topics[i].ID]++
		}
	}
	for i, w := range wanted {
		t := topics[i]
		switch {
		case t == nil:
		case times[t.ID] > 1:
			errs[i] = refuse(kerr.InvalidRequest, "the topic is named more than once in this request")
		default:
			errs[i] = a.Cluster.Commit(ctx, metadata.DeleteTopic{ID: t.ID})[0]
			w.id = t.ID
			w.name, w.named = t.Name, true // with a right answer clients expect both
		}
		resp.Topics = append(resp.Topics, w.deleted(errs[i]))
	}
	return resp
}

// deleteNames reads both forms of the request. What is named more than once comes once, with an error.
func deleteNames(req *kmsg.DeleteTopicsRequest) (wanted []topicName, errs []error) {
	at := map[topicName]int{}
	add := func(w topicName, err error) {
		n, again := at[w]
		if again && err == nil {
			errs[n] = refuse(kerr.InvalidRequest, "the topic is named more than once in this request")
			return
		}
		at[w] = len(wanted)
		wanted, errs = append(wanted, w), append(errs, err)
	}
	if req.Version < 6 {
		for _, n := range req.TopicNames {
			add(topicName{name: n, named: true}, nil)
		}
		return wanted, errs
	}
	for _, t := range req.Topics {
		w, err := topicName{id: t.TopicID, named: t.Topic != nil}, error(nil)
		if w.named {
			w.name = *t.Topic
		}
		switch id := topic.ID(t.TopicID); {
		case w.named && !id.IsZero():
			err = refuse(kerr.InvalidRequest, "a topic is named by name or by id, not both")
		case !w.named && id.IsZero():
			err = refuse(kerr.InvalidRequest, "a topic needs a name or an id")
		}
		add(w, err)
	}
	return wanted, errs
}

// refuseDeletion answers while delete.topic.enable is false, in the words that the client's version knows.
func refuseDeletion(req *kmsg.DeleteTopicsRequest, resp *kmsg.DeleteTopicsResponse) kmsg.Response {
	err := refuse(kerr.TopicDeletionDisabled, "topics cannot be deleted while delete.topic.enable is false")
	if req.Version < 3 {
		err = refuse(kerr.InvalidRequest, err.Error())
	}
	wanted, _ := deleteNames(req)
	for _, w := range wanted {
		resp.Topics = append(resp.Topics, w.deleted(err))
	}
	return resp
}
