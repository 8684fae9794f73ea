using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace Dmb.Access;

/// <summary>A host's key; only the hash of its secret is kept.</summary>
/// <param name="Name">The host's name: 1 to 64 of A-Z a-z 0-9 _ . -</param>
/// <param name="Hash">The SHA-256 of the secret, in hexadecimal.</param>
/// <param name="Scopes">The scopes that it grants.</param>
internal sealed record HostKey(string Name, string Hash, Scopes Scopes);

/// <summary>
/// Holds the keys of hosts: those of <c>DMB_KEYS</c>, and those of the key file, replaced at run time.
/// </summary>
internal sealed class HostKeys
{
    /// <summary>Describes the form of an entry in error texts.</summary>
    public const string Form =
        "name:secret:scopes, the secret of 16 characters or more, the scopes being some of read, publish, register, "
        + "admin with commas between them; entries are separated by ;";

    private const int SecretLengthMin = 16;
    private readonly Caller[] _set;

    /// <summary>One caller per key, created once and not per request.</summary>
    private volatile Caller[] _all;

    /// <param name="set">The keys of <c>DMB_KEYS</c>.</param>
    public HostKeys(IEnumerable<HostKey> set) => _all = _set = [.. set.Select(Caller.Host)];

    /// <summary>Whether a key is still valid, with the same secret and scopes.</summary>
    public bool Knows(HostKey key) => Array.Exists(_all, caller => caller.Key == key);

    /// <summary>Replaces the keys of the key file.</summary>
    public void Replace(IEnumerable<HostKey> keys) => _all = [.. _set, .. keys.Select(Caller.Host)];

    /// <summary>
    /// Finds the host by its key's secret and, if given, name; null if there is none. Compares all keys, each in
    /// constant time, so that the duration reveals nothing.
    /// </summary>
    public Caller? Find(string secret, string? name = null)
    {
        var shown = MemoryMarshal.AsBytes(HashOf(secret).AsSpan());
        Caller? found = null;
        foreach (var caller in _all)
        {
            var isIt =
                CryptographicOperations.FixedTimeEquals(shown, MemoryMarshal.AsBytes(caller.Key!.Hash.AsSpan()))
                & (name is null || caller.Name == name);
            found = isIt ? caller : found;
        }

        return found;
    }

    /// <summary>
    /// Parses entries, separated by <c>;</c> or line breaks. Empty lines and those that begin with # are skipped.
    /// </summary>
    /// <exception cref="FormatException">
    /// An entry is invalid. The message contains its number and none of its text, which may be a secret.
    /// </exception>
    public static List<HostKey> Read(string text)
    {
        var keys = new List<HostKey>();
        foreach (var line in text.Split('\n').Where(line => !line.TrimStart().StartsWith('#')))
        {
            foreach (
                var entry in line.Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            )
            {
                var key = ReadOne(entry, keys.Count + 1);
                var same = keys.FindIndex(other => other.Name == key.Name);
                if (same >= 0)
                {
                    throw new FormatException($"entries {same + 1} and {keys.Count + 1} have the same name");
                }

                keys.Add(key);
            }
        }

        return keys;
    }

    private static HostKey ReadOne(string entry, int number)
    {
        var (first, last) = (entry.IndexOf(':', StringComparison.Ordinal), entry.LastIndexOf(':'));
        var name = first > 0 ? entry[..first] : "";
        if (name.Length is 0 or > 64 || name.Any(c => !char.IsAsciiLetterOrDigit(c) && c is not ('_' or '.' or '-')))
        {
            throw new FormatException($"entry {number} has no name of 1 to 64 letters, digits, _ . or -");
        }

        var secret = last > first ? entry[(first + 1)..last] : "";
        if (secret.Length < SecretLengthMin || secret.Any(char.IsControl))
        {
            throw new FormatException(
                $"the secret of entry {number} has fewer than {SecretLengthMin} characters, or control characters"
            );
        }

        var scopes = Scopes.None;
        foreach (var scope in entry[(last + 1)..].Split(',', StringSplitOptions.TrimEntries))
        {
            scopes |= scope switch
            {
                "read" => Scopes.Read,
                "publish" => Scopes.Publish,
                "register" => Scopes.Register,
                "admin" => Scopes.Admin,
                _ => throw new FormatException(
                    $"entry {number} has a scope that is none of read, publish, register, admin"
                ),
            };
        }

        return new HostKey(name, HashOf(secret), scopes);
    }

    private static string HashOf(string secret) => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(secret)));
}
