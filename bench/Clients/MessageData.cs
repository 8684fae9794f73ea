namespace Dmb.Bench.Clients;

/// <summary>What each message of the comparison is.</summary>
internal static class MessageData
{
    private const int Bytes = 200;

    public const string Room = "endpoint:1234";

    /// <summary>The data, of 200 bytes.</summary>
    public static string Json { get; } =
        Padded("{\"state\":\"ringing\",\"from\":\"15005551234\",\"_in\":[\"endpoint:1234\"],\"pad\":\"");

    private static string Padded(string start) => start + new string('x', Bytes - start.Length - 2) + "\"}";
}
