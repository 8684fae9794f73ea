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

    /// <summary>Unsent commands and, in the same order, the awaited replies.</summary>
    private readonly Channel<byte[]> _commands = Channel.CreateUnbounded<byte[]>(
        new UnboundedChannelOptions { SingleReader = true }
    );
    private readonly ConcurrentQueue<TaskCompletionSource> _unanswered = [];
    private bool _isLost;

    /// <param name="stream">An idle connection to Redis.</param>
    /// <param name="lost">Called with the reason when the connection has ended.</param>
    public RedisSubscriber(Stream stream, Action<string> lost)
    {
        (_stream, _lost) = (stream, lost);
        _ = RunAsync(SendAsync);
        _ = RunAsync(ReceiveAsync);
    }

    /// <summary>Receives messages of channels without a receiver: those of rooms.</summary>
    public Action<string, byte[]> OnMessage { get; set; } = static (_, _) => { };

    /// <summary>Receives messages of patterns without a receiver: those of all rooms.</summary>
    public Action<string, byte[]> OnPatternMessage { get; set; } = static (_, _) => { };

    /// <summary>Subscribes a channel or a pattern. Completes with the reply.</summary>
    /// <param name="name">The channel, or the pattern.</param>
    /// <param name="isPattern">Whether it is a pattern.</param>
    /// <param name="receive">Called with the channel and the body; null for <see cref="OnMessage"/>.</param>
    /// <exception cref="RedisAnswerException">Redis refuses it.</exception>
    /// <exception cref="IOException">The connection has ended.</exception>
    public Task SubscribeAsync(string name, bool isPattern = false, Action<string, byte[]>? receive = null)
    {
        if (receive is not null)
        {
            (isPattern ? _patterns : _channels)[name] = receive;
        }

        return AskAsync(isPattern ? "PSUBSCRIBE" : "SUBSCRIBE", name);
    }

    /// <summary>Unsubscribes a channel or a pattern. Completes with the reply.</summary>
    public Task UnsubscribeAsync(string name, bool isPattern = false) =>
        AskAsync(isPattern ? "PUNSUBSCRIBE" : "UNSUBSCRIBE", name);

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

            _unanswered.Enqueue(answered);
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
        while (_unanswered.TryDequeue(out var answered))
        {
            answered.TrySetException(new IOException(why));
            _ = answered.Task.Exception;
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

        if (Is(kind, "message"u8))
        {
            var channel = Encoding.UTF8.GetString(first);
            (_channels.TryGetValue(channel, out var receive) ? receive : OnMessage)(channel, second.ToArray());
        }
        else if (Is(kind, "pmessage"u8))
        {
            (_patterns.TryGetValue(Encoding.UTF8.GetString(first), out var receive) ? receive : OnPatternMessage)(
                Encoding.UTF8.GetString(second),
                third.ToArray()
            );
        }
        else
        {
            Answered(null);
        }

        return true;
    }

    private void Answered(Exception? error)
    {
        if (!_unanswered.TryDequeue(out var answered))
        {
            throw new InvalidDataException(error?.Message ?? "Redis answered what was not asked");
        }

        if (error is null)
        {
            answered.TrySetResult();
        }
        else
        {
            answered.TrySetException(error);
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
}
