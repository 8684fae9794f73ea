using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.IO.Pipelines;
using System.Net;
using System.Text.Unicode;
using Dmb.Access;
using Dmb.Connections;
using Dmb.Routing;
using Dmb.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace Dmb.Endpoints;

/// <summary>
/// Answers POST /_notify/{event} before the server does, on connections where nothing but plain requests come (<see cref="PlainRequest"/>):
/// a push is less work than the server's request around it. The first other request on a connection is the server's, and all after it.
/// </summary>
internal sealed class PushConnections(
    Pushes pushes, Authentication authentication, AccessRules rules, SessionTable sessions, TimeProvider time, IMeterFactory meters, ILogger<PushConnections> logger)
{
    /// <summary>The server's own spans and durations: where somebody wants those, all requests are the server's.</summary>
    private static readonly ActivitySource Spans = new("Microsoft.AspNetCore");
    private readonly Histogram<double> _durations = meters.Create("Microsoft.AspNetCore.Hosting").CreateHistogram<double>("http.server.request.duration");

    public Pushes Pushes => pushes;

    public TimeProvider Time => time;

    public ILogger Logger => logger;

    /// <summary>Whether each answer is the last on its connection.</summary>
    public bool IsDraining => sessions.IsDraining;

    /// <summary>Stands before the server on each connection.</summary>
    public ConnectionDelegate Before(ConnectionDelegate server) => connection => new PushConnection(this, connection).RunAsync(server);

    /// <summary>Reads a push from somebody who may push.</summary>
    public Reading Read(ReadOnlyMemory<byte> came, out Push push)
    {
        push = default;
        var reading = PlainRequest.Read(came.Span, pushes.BodyMax, out var request);
        return reading == Reading.Whole && (Spans.HasListeners() || _durations.Enabled || !TryRead(request, came, out push)) ? Reading.Other : reading;
    }

    private bool TryRead(in PlainRequest request, ReadOnlyMemory<byte> came, out Push push)
    {
        push = default;
        return authentication.FindAtOnce(request) is { } caller && rules.May(caller, Operation.Publish) && pushes.TryRead(request, came, caller, out push);
    }
}

/// <summary>One connection, until it ends or becomes the server's.</summary>
internal sealed class PushConnection(PushConnections all, ConnectionContext connection)
{
    /// <summary>How long a connection is kept that waits for its next request. libcurl sends a push again when its idle connection was closed without a word.</summary>
    public static readonly TimeSpan KeepAliveTimeout = TimeSpan.FromMinutes(10);

    /// <summary>How long to wait for the rest of a request; after that the server waits for it, which has limits for slow ones.</summary>
    public static readonly TimeSpan RestTimeout = TimeSpan.FromSeconds(1);

    /// <summary>How long a client may not take its answers, as the server has it.</summary>
    public static readonly TimeSpan TakeTimeout = TimeSpan.FromSeconds(5);

    /// <summary>What a head of an answer has at most, in bytes.</summary>
    private const int HeadMax = 256;

    private readonly PipeReader _input = connection.Transport.Input;
    private readonly PipeWriter _output = connection.Transport.Output;
    private readonly IPAddress? _address = (connection.RemoteEndPoint as IPEndPoint)?.Address;
    private CancellationTokenRegistration _closing;
    private bool _isTimed;

    /// <summary>What is waited for, and since when by the clock's timestamp.</summary>
    private volatile Waiting _waiting;
    private long _since;

    private volatile bool _isClosed;

    private enum Waiting
    {
        Nothing,
        Request,
        Rest,
        Taking,
    }

    /// <summary>Answers pushes to the connection's end, or to the first request that is the server's.</summary>
    public async Task RunAsync(ConnectionDelegate server)
    {
        bool isServers;
        try
        {
            isServers = await ServeAsync();
        }
        catch (IOException)
        {
            // The client is gone.
            return;
        }
        finally
        {
            _waiting = Waiting.Nothing;
            await _closing.DisposeAsync();
        }

        if (isServers)
        {
            await server(connection);
        }
    }

    /// <summary>Whether what comes next is the server's.</summary>
    private async Task<bool> ServeAsync()
    {
        while (true)
        {
            var read = await _input.ReadAsync();
            _waiting = Waiting.Nothing;
            var came = read.Buffer.First;
            var reading = Reading.Part;
            var done = 0;
            while (done < came.Length && (reading = all.Read(came[done..], out var push)) == Reading.Whole)
            {
                done += push.Length;
                if (!await AnswerAsync(push))
                {
                    _input.AdvanceTo(read.Buffer.End);
                    return false;
                }
            }

            var isPart = done < came.Length;
            if (_isClosed || (read.IsCompleted && !isPart))
            {
                _input.AdvanceTo(read.Buffer.End);
                return false;
            }

            if (isPart && (reading == Reading.Other || read.IsCanceled || read.IsCompleted))
            {
                // Not examined: the server's first read has it.
                _input.AdvanceTo(read.Buffer.GetPosition(done));
                return true;
            }

            _input.AdvanceTo(read.Buffer.GetPosition(done), read.Buffer.End);
            Wait(isPart ? Waiting.Rest : Waiting.Request);
        }
    }

    /// <summary>False if nothing more is to be answered.</summary>
    private async ValueTask<bool> AnswerAsync(Push push)
    {
        var isLast = push.IsLast || all.IsDraining;
        try
        {
            Write(await all.Pushes.PublishAsync(push, _address), isLast);
        }
        catch (RefusedException refused)
        {
            var status = Problems.StatusOf(refused);
            Write(status, Problems.ContentType, Problems.Write(status, refused.Code, refused.Message), isLast, Problems.RetryAfterOf(refused));
        }
        catch (Exception e)
        {
            Problems.LogFailed(all.Logger, "/_notify", e);
            const int Failed = StatusCodes.Status500InternalServerError;
            Write(Failed, Problems.ContentType, Problems.Write(Failed, ErrorCode.Internal, Problems.FailureDetail), isLast);
        }

        var flushing = _output.FlushAsync();
        if (!flushing.IsCompleted)
        {
            Wait(Waiting.Taking);
        }

        var isGone = (await flushing).IsCompleted;
        _waiting = Waiting.Nothing;
        return !isLast && !isGone;
    }

    private void Write(Published published, bool isLast)
    {
        Span<byte> answer = stackalloc byte[Pushes.AnswerBytesMax];
        Write(Pushes.StatusOf(published), "application/json", answer[..Pushes.WriteAnswer(published, answer)], isLast);
    }

    private void Write(int status, string contentType, ReadOnlySpan<byte> body, bool isLast, string? retryAfter = null)
    {
        var target = _output.GetSpan(HeadMax + body.Length);
        Utf8.TryWrite(target, $"HTTP/1.1 {status} {ReasonPhrases.GetReasonPhrase(status)}\r\nContent-Length: {body.Length}\r\nContent-Type: {contentType}\r\nDate: {all.Time.GetUtcNow():R}\r\n", out var length);
        if (retryAfter is not null)
        {
            Utf8.TryWrite(target[length..], $"Retry-After: {retryAfter}\r\n", out var more);
            length += more;
        }

        var end = isLast ? "Connection: close\r\n\r\n"u8 : "\r\n"u8;
        end.CopyTo(target[length..]);
        length += end.Length;
        body.CopyTo(target[length..]);
        _output.Advance(length + body.Length);
    }

    /// <summary>What is waited for from now on, not longer than it may take.</summary>
    private void Wait(Waiting waiting)
    {
        if (!_isTimed)
        {
            // Not before there is something of ours: the first byte is the listener's to wait for.
            _isTimed = true;
            connection.Features.GetRequiredFeature<IConnectionHeartbeatFeature>().OnHeartbeat(static push => ((PushConnection)push).Tick(), this);
            _closing = connection.Features.GetRequiredFeature<IConnectionLifetimeNotificationFeature>().ConnectionClosedRequested
                .UnsafeRegister(static push => ((PushConnection)push!).Close(), this);
        }

        Volatile.Write(ref _since, all.Time.GetTimestamp());
        _waiting = waiting;
    }

    /// <summary>Comes every second.</summary>
    private void Tick()
    {
        var waiting = _waiting;
        var elapsed = all.Time.GetElapsedTime(Volatile.Read(ref _since));
        if (waiting == Waiting.Request && elapsed > KeepAliveTimeout)
        {
            Close();
        }
        else if (waiting == Waiting.Rest && elapsed > RestTimeout)
        {
            _input.CancelPendingRead();
        }
        else if (waiting == Waiting.Taking && elapsed > TakeTimeout)
        {
            connection.Abort(new ConnectionAbortedException("The client takes no answers."));
        }
    }

    private void Close()
    {
        _isClosed = true;
        _input.CancelPendingRead();
    }
}
