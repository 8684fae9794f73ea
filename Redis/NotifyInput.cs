using System.Globalization;
using System.Text.Json;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Redis;

/// <summary>
/// Publishes pushes received over Redis: on <c>dmb:notify:{event}</c>, or a channel of
/// <see cref="RedisOptions.NotifyChannels"/>.
/// </summary>
internal sealed class NotifyInput(EventTable events, Publisher publisher, RedisBackplane redis, Tail tail)
{
    /// <summary>Publishes a push, on one node only.</summary>
    /// <exception cref="RefusedException">The push is invalid.</exception>
    public async Task ActAsync(string name, ReadOnlyMemory<byte> json, InputCounts counts)
    {
        var address = publisher.ReadAddress(json.Span);
        var own = ReadId(json.Span);
        var origin = new Origin(Origin.Redis, Event: name);
        var envelope = publisher.Prepare(events.Find(name), json, address, own);
        if (envelope is null || (envelope.Rooms.Length == 0 && publisher.Outlet is null))
        {
            if (tail.IsOpen)
            {
                var why = envelope is null ? TraceReason.UnknownEvent : TraceReason.NoRoom;
                tail.Dropped(origin, why, isOnEveryNode: true);
            }

            return;
        }

        var hash = InputCounts.Hash(name, json.Span);
        var count = counts.Before(hash);
        try
        {
            var claim = own is null ? counts.ByCount(hash) : counts.ById(own);
            using var publish = MessageSpans.Publish(envelope);
            if (!await redis.PublishOnceAsync(envelope, claim))
            {
                Tracing.Drop();
            }
            else
            {
                await publisher.HandOverAsync(envelope);
                if (tail.IsOpen)
                {
                    tail.Published(origin, envelope, address.LeftOutNames, isDuplicate: false, PublishOutcome.Fully);
                }
            }

            count = claim.Seen;
        }
        catch (RedisUnavailableException)
        {
            // Without Redis all nodes publish it locally under one id, so that each session gets it once.
            var id = own ?? string.Create(CultureInfo.InvariantCulture, $"{hash}-{count}");
            await publisher.PublishAsync(events.Find(name), json, address, key: null, id, origin);
            count++;
        }

        if (own is null)
        {
            counts.Note(hash, count);
        }
    }

    /// <summary>Publishes what a node that died has claimed and not published.</summary>
    /// <exception cref="RedisUnavailableException">A group is away; it is tried again.</exception>
    public async Task TakeOverAsync(string other)
    {
        foreach (var envelope in await redis.TakeOverAsync(other))
        {
            await publisher.HandOverAsync(envelope);
        }
    }

    /// <summary>The input's own <c>id</c> or <c>nonce</c>; null unless it is a valid id.</summary>
    private string? ReadId(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, publisher.ReaderOptions);
        reader.Read();
        string? found = null;
        while (reader.TokenType is JsonTokenType.StartObject or JsonTokenType.PropertyName || reader.CurrentDepth > 0)
        {
            if (reader.TokenType == JsonTokenType.PropertyName && reader.CurrentDepth == 1)
            {
                var isId = JsonText.Is(ref reader, "id"u8) || (found is null && JsonText.Is(ref reader, "nonce"u8));
                reader.Read();
                if (
                    isId
                    && reader.TokenType == JsonTokenType.String
                    && JsonText.Read(ref reader) is { } id
                    && Names.IsId(id)
                )
                {
                    found = id;
                }

                reader.Skip();
            }

            if (!reader.Read())
            {
                break;
            }
        }

        return found;
    }
}
