using Dmb.Routing;
using Dmb.Sockets;
using Dmb.Transport;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Endpoints;

/// <summary>A started stream.</summary>
/// <param name="Join">The join of its rooms; null without rooms.</param>
/// <param name="EndAsync">Called when the stream ends.</param>
internal readonly record struct StreamStart(JoinOperation? Join = null, Func<ValueTask>? EndAsync = null);

/// <summary>Answers requests for streams of server-sent events.</summary>
internal static class EventStreamSession
{
    private const string ContentType = "text/event-stream";

    /// <summary>Whether a path is of a stream.</summary>
    public static bool IsStream(PathString path) =>
        path.StartsWithSegments("/events", StringComparison.OrdinalIgnoreCase)
        || path.StartsWithSegments("/tail", StringComparison.OrdinalIgnoreCase)
        || (path.Value is { } value && value.EndsWith("/uplink", StringComparison.OrdinalIgnoreCase));

    /// <summary>Opens a session and streams its messages until the client disconnects.</summary>
    /// <param name="context">The request; HEAD is answered with the headers only, without a session.</param>
    /// <param name="sessions">Registers the session.</param>
    /// <param name="joinAsync">Joins the session's rooms. Its refusal becomes the response.</param>
    public static async Task RunAsync(
        HttpContext context,
        SessionTable sessions,
        Func<Session, Task<StreamStart>> joinAsync
    )
    {
        using var lease = sessions.Reserve(context.Connection.RemoteIpAddress);
        Begin(context.Response);
        if (HttpMethods.IsHead(context.Request.Method))
        {
            return;
        }

        context.Features.GetRequiredFeature<IHttpResponseBodyFeature>().DisableBuffering();
        var hasHeartbeat = context.Request.Query["heartbeat"] == "1";
        var session = new Session(
            sessions,
            context.Caller(),
            hasHeartbeat ? EventStreamWire.WithHeartbeat : EventStreamWire.Plain,
            new StreamFrameOutput(context.Response.Body, context.Abort)
        )
        {
            Address = context.Connection.RemoteIpAddress,
            Agent = UserAgents.Intern(context.Request.Headers.UserAgent.ToString()),
        };
        sessions.Add(session);
        StreamStart start = default;
        try
        {
            // Nothing is written before the join, so that a refusal is answered with a problem.
            var mustFlush = session.Queue([.. EventStreamRetry.After(TimeSpan.Zero), .. EventStreamFrames.Connected]);
            start = await joinAsync(session);
            if (start.Join?.Rooms.Any(room => !room.Position.IsNone) == true)
            {
                var cursor = new StreamCursor(start.Join.Rooms);
                mustFlush |= session.SwapWire(new CursorEventStreamWire(cursor, hasHeartbeat), cursor.Line());
            }

            if (mustFlush)
            {
                session.Flush();
            }

            context.Features.Get<SocketConnection>()?.Watch(session.ProbeClient);
            await using (context.RequestAborted.Register(static s => ((Session)s!).Finish([]), session))
            {
                await using (start.Join)
                {
                    start.Join?.SendGaps();
                }

                await session.Ended;
            }
        }
        catch
        {
            session.Abandon();
            throw;
        }
        finally
        {
            session.Finish([]);
            if (start.EndAsync is not null)
            {
                await start.EndAsync();
            }

            await sessions.RemoveAsync(session);
        }
    }

    /// <summary>
    /// Answers an EventSource whose stream cannot be opened now with a stream of only a <c>retry</c> field: an error
    /// status would end it for good (HTML Living Standard §9.2.3).
    /// </summary>
    /// <returns>False for other clients or refusals, which get a problem.</returns>
    public static async Task<bool> TryPostponeAsync(HttpContext context, RefusedException refused)
    {
        var request = context.Request;
        if (
            !refused.Retry
            || !HttpMethods.IsGet(request.Method)
            || request.Headers.Accept != ContentType
            || request.Headers.ContainsKey("X-Api-Key")
        )
        {
            return false;
        }

        context.Response.StatusCode = StatusCodes.Status200OK;
        Begin(context.Response);
        await context.Response.Body.WriteAsync(
            EventStreamRetry.StreamAfter(refused.RetryAfter ?? TimeSpan.Zero),
            context.RequestAborted
        );
        return true;
    }

    private static void Begin(HttpResponse response)
    {
        response.ContentType = ContentType;
        response.Headers.CacheControl = "no-store";

        // Disables nginx's buffering.
        response.Headers["X-Accel-Buffering"] = "no";
    }
}
