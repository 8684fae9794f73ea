using System.Net.Sockets;
using Polly.Timeout;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>Describes why Redis is unavailable, for the log and <c>/readyz</c>.</summary>
internal static class RedisReason
{
    /// <summary>Prefix of a reason that is Redis's own answer.</summary>
    public const string Answered = "Redis answered ";

    /// <summary>The reason of an exception.</summary>
    public static string Of(Exception e) =>
        e switch
        {
            RedisUnavailableException unavailable => unavailable.Why,
            RedisKeyException key => key.Why,
            RedisAnswerException or RedisServerException => OfAnswer(e.Message),
            SocketException { SocketErrorCode: SocketError.ConnectionRefused } => "connection refused",
            SocketException
            {
                SocketErrorCode: SocketError.HostNotFound or SocketError.NoData or SocketError.TryAgain
            } => "no such host",
            SocketException { SocketErrorCode: SocketError.TimedOut } or TimeoutException or TimeoutRejectedException =>
                "no answer",
            OperationCanceledException => "no answer, the connection was given up",
            RedisException when IsRedirected(e.Message) => "its keys are on another server",
            _ => e.Message.TrimEnd('.'),
        };

    /// <summary>Whether an error is about one slot of a cluster, and not about the server.</summary>
    public static bool IsAboutSlot(string answer) =>
        answer.Split(' ', 2)[0] is "MOVED" or "ASK" or "TRYAGAIN" || IsRedirected(answer);

    /// <summary>Whether it is the library's text for MOVED to a server that it does not know.</summary>
    private static bool IsRedirected(string answer) => answer.Contains(" serving hashslot ", StringComparison.Ordinal);

    private static string OfAnswer(string answer)
    {
        var kind = answer.Split(' ', 2)[0] switch
        {
            "WRONGPASS" => "wrong password: ",
            "ERR" when answer.Contains("invalid password", StringComparison.OrdinalIgnoreCase) => "wrong password: ",
            "NOAUTH" => "no password: ",
            "NOPERM" => "no permission: ",
            "READONLY" => "read only: ",
            "CROSSSLOT" or "CLUSTER" => "moved to a cluster: ",
            "MOVED" or "ASK" or "TRYAGAIN" => "its keys move to another server: ",
            "CLUSTERDOWN" => "the cluster is down: ",
            _ => "",
        };
        return kind + Answered + answer.TrimEnd('.');
    }
}
