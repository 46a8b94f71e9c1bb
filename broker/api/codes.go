package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/broker/loglevel"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/configdef"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/record"
)

// code gives Kafka's error code for what any room of the house says. 0 for nil.
func code(err error) int16 {
	if err == nil {
		return 0
	}
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke.Code
	}
	for _, m := range codes {
		if errors.Is(err, m.err) {
			return m.code.Code
		}
	}
	return kerr.UnknownServerError.Code
}

// codes maps the errors of other packages; the first that matches counts.
var codes = []struct {
	err  error
	code *kerr.Error
}{
	{hot.ErrDuplicateSequence, kerr.DuplicateSequenceNumber},
	{producer.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
	{producer.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
	{producer.ErrInvalidTxnState, kerr.InvalidTxnState},
	{producer.ErrCoordinatorFenced, kerr.TransactionCoordinatorFenced},
	{hot.ErrRecordTooLarge, kerr.MessageTooLarge},
	{hot.ErrBatchListTooLarge, kerr.RecordListTooLarge},
	{hot.ErrTimestamp, kerr.InvalidTimestamp},
	{record.ErrTooLarge, kerr.MessageTooLarge}, // before what wraps it: a client that splits its batch gets on
	{hot.ErrInvalidBatch, kerr.InvalidRecord},
	{hot.ErrOutOfRange, kerr.OffsetOutOfRange},
	{hot.ErrFenced, kerr.NotLeaderForPartition},
	{hot.ErrFull, kerr.KafkaStorageError},
	{hot.ErrOffline, kerr.KafkaStorageError},
	{hot.ErrClosed, kerr.KafkaStorageError},
	{hot.ErrCorruptLog, kerr.KafkaStorageError},
	{hot.ErrUnreadable, kerr.KafkaStorageError},
	{record.ErrCorrupt, kerr.CorruptMessage},
	{record.ErrCodec, kerr.UnsupportedCompressionType},
	{record.ErrMagic, kerr.InvalidRecord},
	{record.ErrTruncated, kerr.InvalidRecord},
	{record.ErrInvalid, kerr.InvalidRecord},
	{configdef.ErrInvalid, kerr.InvalidConfig},
	{brokerconfig.ErrReadOnly, kerr.InvalidRequest},
	{brokerconfig.ErrPerBroker, kerr.InvalidRequest},
	{loglevel.ErrUnknownLogger, kerr.InvalidConfig},
	{loglevel.ErrUnknownLevel, kerr.InvalidConfig},
	{loglevel.ErrRoot, kerr.InvalidRequest},
	{metadata.ErrTopicExists, kerr.TopicAlreadyExists},
	{metadata.ErrUnknownTopic, kerr.UnknownTopicOrPartition},
	{metadata.ErrInvalidTopic, kerr.InvalidTopicException},
	{metadata.ErrPartitions, kerr.InvalidPartitions},
	{metadata.ErrArchived, kerr.InvalidConfig},
	{metadata.ErrInvalid, kerr.InvalidRequest},
	{metadata.ErrConflict, kerr.RequestTimedOut}, // somebody else was faster, again and again
	{metadata.ErrUnavailable, kerr.RequestTimedOut},
	{metadata.ErrAmbiguous, kerr.RequestTimedOut},
	{metadata.ErrLeaseLost, kerr.RequestTimedOut},
	{metadata.ErrStoreDiskFull, kerr.KafkaStorageError},
	{metadata.ErrClosed, kerr.RequestTimedOut},
	{context.DeadlineExceeded, kerr.RequestTimedOut},
	{context.Canceled, kerr.RequestTimedOut},
}

// refusal is an error code with a sentence for the client.
type refusal struct {
	code *kerr.Error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.code }

func refuse(code *kerr.Error, text string) error { return &refusal{code, text} }

// message is the error message of an answer: nil when all is well, so that it is sent as null.
func message(err error) *string {
	if err == nil {
		return nil
	}
	s := err.Error()
	if ke, ok := err.(*kerr.Error); ok { //nolint:errorlint // a bare code, not one that somebody wrapped in a sentence
		s = ke.Description
	}
	return &s
}
