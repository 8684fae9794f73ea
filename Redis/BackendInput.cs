using Dmb.Backends;
using Dmb.Routing;
using Dmb.Telemetry;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Executes backends' inputs over Redis: on <c>dmb:register</c>, and on each backend's channel (docs/protocol.md §6).
/// </summary>
internal sealed class BackendInput(
    BackendServices backends,
    RedisBackendStore store,
    RoutingOptions options,
    BackendOptions lifetimes,
    RedisNode node,
    RedisConnection connection,
    Tail tail
)
{
    private readonly RedisChannels _channels = node.Channels;

    /// <summary>Registers or frees a backend, on one node only, and answers.</summary>
    /// <exception cref="RefusedException">The input is invalid and has no channel to answer on.</exception>
    public async Task RegisterAsync(ReadOnlyMemory<byte> json, InputCounts counts)
    {
        var members = JsonMembers.Read(json, options.MaxJsonDepth, ErrorCode.BadJson);
        var hash = InputCounts.Hash(_channels.Register, json.Span);
        switch (members.TextOrNull("type"))
        {
            case "bk_connect":
                await ConnectAsync(members, hash, counts);
                break;
            case "bk_disconnect":
                await DisconnectAsync(members, hash, counts);
                break;
            default:
                await RefuseAsync(
                    ReplyTo(members),
                    "bk_connect_ack",
                    Nonce(members),
                    hash,
                    counts,
                    new RefusedException(ErrorCode.BadJson, "The member type is bk_connect or bk_disconnect.")
                );
                break;
        }
    }

    /// <summary>Sends a backend's message to its users, on one node only, and answers.</summary>
    public async Task SendAsync(string bkid, ReadOnlyMemory<byte> json, InputCounts counts)
    {
        var hash = InputCounts.Hash(bkid, json.Span);
        byte[] id = [];
        try
        {
            if (json.Length > options.MaxMessageBytes)
            {
                throw new RefusedException(
                    ErrorCode.TooBig,
                    $"The message is larger than {options.MaxMessageBytes} bytes."
                );
            }

            var members = JsonMembers.Read(json, options.MaxJsonDepth, ErrorCode.BadJson);
            id = BackendJson.Member("id", members.Raw("id").Span);
            var message = BackendMessage.Read(members, "to", ErrorCode.BadJson);
            var claim = message.Key is { } key
                ? counts.ByCount(hash, store.RepliesTo(bkid, key))
                : counts.ByCount(hash);
            var ack = new Ack(
                _channels.BackendAck(bkid),
                BackendJson.MessageAckStart(id),
                BackendJson.Refused("bk_message_ack", id, Backend.Unknown(bkid))
            );
            var envelope = backends.Address(bkid, message);
            using var publish = MessageSpans.Publish(envelope);
            if ((await store.SendAsync(bkid, envelope, message.To, claim, ack)).IsDuplicate)
            {
                Tracing.Drop();
            }
            else if (tail.IsOpen)
            {
                tail.Published(
                    new Origin(Origin.Backend, bkid),
                    envelope,
                    null,
                    isDuplicate: false,
                    PublishOutcome.Fully
                );
            }

            counts.Note(hash, claim.Seen);
        }
        catch (RefusedException refused) when (refused.Code != ErrorCode.BackplaneDown)
        {
            await RefuseAsync(_channels.BackendAck(bkid), "bk_message_ack", id, hash, counts, refused);
        }
    }

    private async Task ConnectAsync(JsonMembers members, string hash, InputCounts counts)
    {
        var nonce = Nonce(members);
        try
        {
            var backend = BackendServices.Name(members.Text("name"), members.Text("bkid"));
            var ack = new Ack(
                ReplyTo(members) ?? _channels.RegisterAck(backend.Name),
                BackendJson.ConnectAck(
                    backend.Bkid,
                    _channels.Backend(backend.Bkid),
                    _channels.BackendAck(backend.Bkid),
                    _channels.Uplink,
                    lifetimes.BackendTtl,
                    nonce
                ),
                BackendJson.Refused("bk_connect_ack", nonce, BackendServices.NotItsName(backend))
            );
            var claim =
                nonce.Length > 0 ? counts.ByCount(hash, store.RepliesTo("register", hash)) : counts.ByCount(hash);
            await store.RegisterAsync(backend, claim, ack);
            counts.Note(hash, claim.Seen);
        }
        catch (RefusedException refused) when (refused.Code != ErrorCode.BackplaneDown)
        {
            await RefuseAsync(ReplyTo(members), "bk_connect_ack", nonce, hash, counts, refused);
        }
    }

    private async Task DisconnectAsync(JsonMembers members, string hash, InputCounts counts)
    {
        if (members.TextOrNull("bkid") is not { } bkid || !Backend.IsBkid(bkid))
        {
            await RefuseAsync(
                ReplyTo(members),
                "bk_disconnect_ack",
                Nonce(members),
                hash,
                counts,
                Backend.Unknown(members.TextOrNull("bkid"))
            );
            return;
        }

        var member = BackendJson.Member("bkid", bkid);
        var claim = counts.ByCount(hash);
        var ack = new Ack(
            ReplyTo(members) ?? _channels.BackendAck(bkid),
            BackendJson.Ack("bk_disconnect_ack", member),
            BackendJson.Refused("bk_disconnect_ack", member, Backend.Unknown(bkid))
        );
        await store.FreeAsync(bkid, claim, ack);
        counts.Note(hash, claim.Seen);
    }

    /// <summary>
    /// Sends a negative ack, on one node only; without a channel to answer on the input is only counted.
    /// </summary>
    private async Task RefuseAsync(
        string? channel,
        string type,
        byte[] members,
        string hash,
        InputCounts counts,
        RefusedException refused
    )
    {
        if (channel is not null)
        {
            var claim = counts.ByCount(hash);
            var answer = (RedisResult[])
                (
                    await connection.RunAsync(
                        RedisScript.Answer,
                        claim.Keys,
                        [.. claim.Arguments, channel, BackendJson.Refused(type, members, refused)]
                    )
                )!;
            counts.Note(hash, (long)answer[1]);
        }

        throw refused;
    }

    /// <summary>
    /// The channel to answer on: the given one, or that of the backend's name; null if neither is valid.
    /// </summary>
    private string? ReplyTo(JsonMembers members) =>
        members.TextOrNull("reply_to") is { } channel && Names.IsChannel(channel) ? channel
        : members.TextOrNull("name") is { } name && Names.IsChannel(name) ? _channels.RegisterAck(name)
        : null;

    private static byte[] Nonce(JsonMembers members) =>
        members.TextOrNull("nonce") is { } nonce && Names.IsId(nonce)
            ? BackendJson.Member("nonce", members.Raw("nonce").Span)
            : [];
}
