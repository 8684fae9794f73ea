using System.Buffers;
using System.Buffers.Text;
using System.Collections.Concurrent;
using System.IO.Pipelines;
using System.Text;
using System.Threading.Channels;

namespace Dmb.Redis;

/// <summary>
/// A connection for subscriptions. One loop hands over received messages in the order in which Redis published them,
/// over all channels; the client library keeps that order within a channel only. Frames are those of RESP2
/// (Redis serialization protocol specification, "Pushed data types" and "Arrays").
/// </summary>
internal sealed class RedisSubscriber : IAsyncDisposable
{
    private readonly Stream _stream;
    private readonly Action<string> _lost;
    private readonly Lock _lock = new();
    private readonly ConcurrentDictionary<string, Action<string, byte[]>> _channels = [];
    private readonly ConcurrentDictionary<string, Action<string, byte[]>> _patterns = [];

    /// <summary>
    /// The groups of rooms that use this connection; replaced on each change.
    /// </summary>
    private volatile Receiver[] _groups = [];

    /// <summary>Unsent commands and, in the same order, the awaited replies.</summary>
    private readonly Channel<byte[]> _commands = Channel.CreateUnbounded<byte[]>(
        new UnboundedChannelOptions { SingleReader = true }
    );
    private readonly ConcurrentQueue<Asked> _unanswered = [];
    private bool _isLost;

    /// <param name="stream">An idle connection to Redis.</param>
    /// <param name="lost">Called with the reason when the connection has ended.</param>
    public RedisSubscriber(Stream stream, Action<string> lost)
    {
        (_stream, _lost) = (stream, lost);
        _ = RunAsync(SendAsync);
        _ = RunAsync(ReceiveAsync);
    }

    /// <summary>Adds a group: its messages of channels without a receiver, those of rooms, are handed over.</summary>
    /// <param name="prefix">What its channels begin with.</param>
    /// <param name="onMessage">Called with the channel and the body.</param>
    /// <param name="onMoved">Called when Redis ends its subscriptions, since its slot has moved.</param>
    public void Add(string prefix, Action<string, byte[]> onMessage, Action onMoved)
    {
        lock (_lock)
        {
            // The longest prefix first, since one may begin another.
            _groups =
            [
                .. _groups
                    .Where(group => group.Prefix != prefix)
                    .Append(new Receiver(prefix, onMessage, onMoved))
                    .OrderByDescending(group => group.Prefix.Length),
            ];
        }
    }

    /// <summary>Removes a group; its subscriptions go on, and what they bring is dropped.</summary>
    public void Remove(string prefix)
    {
        lock (_lock)
        {
            _groups = [.. _groups.Where(group => group.Prefix != prefix)];
        }
    }

    /// <summary>Subscribes a channel or a pattern. Completes with the reply.</summary>
    /// <param name="name">The channel, or the pattern.</param>
    /// <param name="kind">What it is.</param>
    /// <param name="receive">Called with the channel and the body; null for the receiver of its group.</param>
    /// <exception cref="RedisAnswerException">Redis refuses it.</exception>
    /// <exception cref="IOException">The connection has ended.</exception>
    public Task SubscribeAsync(string name, SubscriptionKind kind, Action<string, byte[]>? receive = null)
    {
        if (receive is not null)
        {
            (kind == SubscriptionKind.Pattern ? _patterns : _channels)[name] = receive;
        }

        return AskAsync(Command("SUBSCRIBE", kind), name);
    }

    /// <summary>Unsubscribes a channel or a pattern. Completes with the reply.</summary>
    public Task UnsubscribeAsync(string name, SubscriptionKind kind) => AskAsync(Command("UNSUBSCRIBE", kind), name);

    /// <summary>
    /// Removes the receiver of a channel or pattern, which a group that goes on elsewhere no longer needs. Redis ends a
    /// sharded subscription itself when the slot moves.
    /// </summary>
    public void Forget(string name, SubscriptionKind kind)
    {
        (kind == SubscriptionKind.Pattern ? _patterns : _channels).TryRemove(name, out _);
        if (kind != SubscriptionKind.Shard)
        {
            _ = UnsubscribeAsync(name, kind).ContinueWith(static task => _ = task.Exception, TaskScheduler.Default);
        }
    }

    private static string Command(string command, SubscriptionKind kind) =>
        kind switch
        {
            SubscriptionKind.Pattern => "P" + command,
            SubscriptionKind.Shard => "S" + command,
            _ => command,
        };

    public ValueTask DisposeAsync()
    {
        End("it is not used any more");
        return _stream.DisposeAsync();
    }

    private Task AskAsync(string command, string name)
    {
        var answered = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var bytes = Encoding.UTF8.GetBytes(
            $"*2\r\n${command.Length}\r\n{command}\r\n${Encoding.UTF8.GetByteCount(name)}\r\n{name}\r\n"
        );
        lock (_lock)
        {
            if (_isLost)
            {
                return Task.FromException(new IOException("the connection has ended"));
            }

            _unanswered.Enqueue(new Asked(answered, command == "SUNSUBSCRIBE" ? name : null));
            _commands.Writer.TryWrite(bytes);
        }

        return answered.Task;
    }

    private async Task RunAsync(Func<Task> loop)
    {
        try
        {
            await Task.Yield();
            await loop();
            End("it was closed");
        }
        catch (Exception e)
        {
            End(RedisReason.Of(e));
        }
    }

    private void End(string why)
    {
        lock (_lock)
        {
            _isLost = true;
        }

        _commands.Writer.TryComplete();
        _lost(why);
        while (_unanswered.TryDequeue(out var asked))
        {
            asked.Answered.TrySetException(new IOException(why));
            _ = asked.Answered.Task.Exception;
        }
    }

    private async Task SendAsync()
    {
        var batch = new ArrayBufferWriter<byte>();
        while (await _commands.Reader.WaitToReadAsync())
        {
            while (_commands.Reader.TryRead(out var command))
            {
                batch.Write(command);
            }

            await _stream.WriteAsync(batch.WrittenMemory);
            batch.ResetWrittenCount();
        }
    }

    private async Task ReceiveAsync()
    {
        var input = PipeReader.Create(_stream, new StreamPipeReaderOptions(bufferSize: 65_536, leaveOpen: true));
        while (true)
        {
            var result = await input.ReadAsync();
            input.AdvanceTo(Read(result.Buffer), result.Buffer.End);
            if (result.IsCompleted)
            {
                return;
            }
        }
    }

    /// <summary>Processes all complete frames; returns the start of the incomplete rest.</summary>
    private SequencePosition Read(in ReadOnlySequence<byte> buffer)
    {
        var reader = new SequenceReader<byte>(buffer);
        var end = reader.Position;
        while (TryRead(ref reader))
        {
            end = reader.Position;
        }

        return end;
    }

    /// <summary>Processes a reply or a message; false if it is incomplete.</summary>
    private bool TryRead(ref SequenceReader<byte> reader)
    {
        if (!TryReadLine(ref reader, out var type, out var line))
        {
            return false;
        }

        if (type == '-')
        {
            Answered(new RedisAnswerException(Encoding.UTF8.GetString(line)));
            return true;
        }

        var parts = type == '*' ? Number(line) : 0;
        if (parts is not (3 or 4))
        {
            throw new InvalidDataException("Redis sent what is no message");
        }

        ReadOnlySequence<byte> third = default;
        if (
            !TryReadPart(ref reader, out var kind)
            || !TryReadPart(ref reader, out var first)
            || !TryReadPart(ref reader, out var second)
            || (parts == 4 && !TryReadPart(ref reader, out third))
        )
        {
            return false;
        }

        if (Is(kind, "message"u8) || Is(kind, "smessage"u8))
        {
            var channel = Encoding.UTF8.GetString(first);
            if (_channels.TryGetValue(channel, out var receive))
            {
                receive(channel, second.ToArray());
            }
            else
            {
                GroupOf(channel)?.OnMessage(channel, second.ToArray());
            }
        }
        else if (Is(kind, "pmessage"u8))
        {
            if (_patterns.TryGetValue(Encoding.UTF8.GetString(first), out var receive))
            {
                receive(Encoding.UTF8.GetString(second), third.ToArray());
            }
        }
        else if (
            Is(kind, "sunsubscribe"u8)
            && Encoding.UTF8.GetString(first) is var gone
            && !(_unanswered.TryPeek(out var next) && next.Ended == gone)
        )
        {
            // Not asked for: the slot has moved to another server.
            GroupOf(gone)?.OnMoved();
        }
        else
        {
            Answered(null);
        }

        return true;
    }

    private Receiver? GroupOf(string channel)
    {
        var groups = _groups;
        foreach (var group in groups)
        {
            if (channel.StartsWith(group.Prefix, StringComparison.Ordinal))
            {
                return group;
            }
        }

        return null;
    }

    private void Answered(Exception? error)
    {
        if (!_unanswered.TryDequeue(out var asked))
        {
            throw new InvalidDataException(error?.Message ?? "Redis answered what was not asked");
        }

        if (error is null)
        {
            asked.Answered.TrySetResult();
        }
        else
        {
            asked.Answered.TrySetException(error);
        }
    }

    private static bool TryReadLine(ref SequenceReader<byte> reader, out byte type, out ReadOnlySequence<byte> line)
    {
        type = 0;
        if (!reader.TryReadTo(out line, "\r\n"u8))
        {
            return false;
        }

        type = line.FirstSpan[0];
        line = line.Slice(1);
        return true;
    }

    /// <summary>Reads a bulk string, or a number.</summary>
    private static bool TryReadPart(ref SequenceReader<byte> reader, out ReadOnlySequence<byte> part)
    {
        if (!TryReadLine(ref reader, out var type, out part))
        {
            return false;
        }

        if (type == '$' && Number(part) is >= 0 and var length)
        {
            if (reader.Remaining < length + 2)
            {
                return false;
            }

            part = reader.UnreadSequence.Slice(0, length);
            reader.Advance(length + 2);
        }

        return true;
    }

    private static int Number(in ReadOnlySequence<byte> text)
    {
        Span<byte> digits = stackalloc byte[20];
        var length = (int)Math.Min(text.Length, digits.Length);
        text.Slice(0, length).CopyTo(digits);
        return Utf8Parser.TryParse(digits[..length], out int number, out var read) && read == length
            ? number
            : throw new InvalidDataException("Redis sent a length that is no number");
    }

    private static bool Is(in ReadOnlySequence<byte> kind, ReadOnlySpan<byte> name)
    {
        if (kind.Length != name.Length)
        {
            return false;
        }

        Span<byte> bytes = stackalloc byte[name.Length];
        kind.CopyTo(bytes);
        return bytes.SequenceEqual(name);
    }

    /// <summary>What is called for a group's messages.</summary>
    private sealed record Receiver(string Prefix, Action<string, byte[]> OnMessage, Action OnMoved);

    /// <summary>A command whose reply is awaited.</summary>
    /// <param name="Answered">Completes with the reply.</param>
    /// <param name="Ended">The sharded channel that it unsubscribes; null for any other command.</param>
    private readonly record struct Asked(TaskCompletionSource Answered, string? Ended);
}

/// <summary>What is subscribed.</summary>
internal enum SubscriptionKind
{
    /// <summary>A channel (SUBSCRIBE).</summary>
    Channel,

    /// <summary>A pattern of channels (PSUBSCRIBE).</summary>
    Pattern,

    /// <summary>A sharded channel (SSUBSCRIBE).</summary>
    Shard,
}
